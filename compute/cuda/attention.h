#pragma once

#include "compute/cuda/device.h"

namespace lava::cuda {

enum class NumberType
{
    float32,
    float16,
    bfloat16
};

/// Causal attention of the last n of num_keys positions, and the column sums of its probabilities. Pointers are into
/// the memory of the current device; query head h reads KV head h / (num_heads / num_kv_heads).
struct Attention
{
    NumberType type = NumberType::float32; ///< of q, k, v and z
    const void* q = nullptr; ///< [num_heads, n, head_dim], heads q_stride numbers apart
    const void* k = nullptr; ///< [num_kv_heads, num_keys, head_dim], heads k_stride apart
    const void* v = nullptr; ///< as k, v_stride apart; not read where z is null
    std::int64_t q_stride = 0, k_stride = 0, v_stride = 0;
    std::int64_t num_heads = 0, num_kv_heads = 0, n = 0, num_keys = 0, head_dim = 0;
    std::int64_t window = 0; ///< a query sees the last `window` positions up to its own; 0: all
    void* z = nullptr; ///< [n, num_heads, head_dim]; null: not wanted
    float* column_sums = nullptr; ///< [num_heads, num_keys]; null: not wanted
    float* off_diagonal = nullptr; ///< column sums without each query's own key; null: not wanted
    float divisor = 1; ///< of the column sums
};

/// Whether a head of that size fits into a GPU's shared memory: up to 256 numbers, and more in 16 bits.
bool attention_fits(NumberType type, std::int64_t head_dim);

/// Floats of workspace that attend() needs.
std::int64_t attention_workspace(const Attention& attention);

/// Puts the work on a stream; `workspace`, of the device, must stay until it is done. Scores, softmax and sums are
/// fp32, weights are rounded to `type` before they meet values; N x n is never stored. Deterministic, and the same on
/// every GPU of one kind of arithmetic. CPU twin: compute/cpu/tiled_attention.h. Throws Error where the launch fails.
void attend(const Attention& attention, float* workspace, Stream stream);

} // namespace lava::cuda
