#pragma once

#include <cstdint>
#include <span>

namespace lava {

/// A layer's keys and values of the prompt, as recorded: [num_kv_heads, seq_len, head_dim] each.
struct PromptCache
{
    const float* k = nullptr;
    const float* v = nullptr;
    std::int64_t num_heads = 0; ///< query heads
    std::int64_t num_kv_heads = 0;
    std::int64_t seq_len = 0;
    std::int64_t head_dim = 0;
    std::int64_t sliding_window = 0; ///< positions that a step sees, up to its own; 0: all
};

/// What one row of a decode batch attends to in a layer: of the prompt, per head that keeps a cache of its own (a KV
/// head, or a query head), a prefix of a ranking; and its own decode entries, which are never evicted.
struct RowCache
{
    std::span<const std::uint32_t> ranking; ///< [cache heads, seq_len]
    std::span<const std::int64_t> counts; ///< [cache heads]: that many of the head's ranking
    /// [num_kv_heads, ., head_dim], the heads `decode_stride` floats apart: entries of the steps so far, the fresh ones
    /// included
    const float* decode_k = nullptr;
    const float* decode_v = nullptr;
    std::int64_t decode_stride = 0;
};

/// Fresh steps of all rows: q [num_heads, rows * steps, head_dim], after RoPE, and where their attention goes,
/// z [rows * steps, num_heads * head_dim]. Step s of a row sees its decode entries 0 to seen + s,
/// as far as they and what it keeps of the prompt lie within its sliding window.
struct FreshSteps
{
    const float* q = nullptr;
    float* z = nullptr;
    std::int64_t steps = 0; ///< of each row
    std::int64_t seen = 0; ///< decode steps before these
    std::int64_t first_position = 0; ///< of the first decode step; entry i of the prompt is at position i
};

/// Exact attention of every row over its own cache. Rows whose rankings are the same array share the gathering of its
/// entries, and each block of entries is multiplied only for the rows that keep some of it; a row's result does not
/// depend on the rows beside it. Float32 with an online softmax.
void attend_to_prefixes(const PromptCache& prompt, std::span<const RowCache> rows, const FreshSteps& fresh);

} // namespace lava
