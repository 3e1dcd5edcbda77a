#pragma once

#include "model/decoder.h"
#include "model/tokenizer.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lava {

/// What the model is asked, and where the user's text stands in the chat template.
struct RepeatTexts
{
    std::int64_t prefix_length = 0; ///< tokens of the template before the user's text
    std::vector<std::int64_t> ask_first, ask_next; ///< "repeat the previous context", "repeat the part starting with"
    std::vector<std::int64_t> suffix; ///< of the template, from the end of the user's text to the assistant's turn
};

RepeatTexts repeat_texts(const Tokenizer& tokenizer);

/// A stretch of the prompt and what the model reads to repeat it.
struct RepeatChunk
{
    std::int64_t begin = 0, end = 0; ///< tokens of the prompt
    std::vector<std::int64_t> ids;
};

/// The prompt without the template's prefix, in chunks of at most `chunk_size` tokens; none where nothing is left.
std::vector<RepeatChunk> repeat_chunks(
    const std::vector<std::int64_t>& prompt_ids, const RepeatTexts& texts, std::int64_t chunk_size = 2048);

/// A layer's KVzip scores, [num_kv_heads, seq_len] float32 on the CPU; 0 for the tokens that no chunk holds.
struct RepeatMaxima
{
    at::Tensor plain, plus;
};

/// KVzip's second pass (Kim et al. 2025, arXiv:2505.23416, as kvpress 0.5.5's KVzipPress runs it): after the whole
/// prompt the model repeats each chunk, and an entry's score is the largest attention that it gets meanwhile
/// (traces/FORMAT.md). Layer by layer, so that only one layer's keys and values are needed at a time. The chunks'
/// queries are taken in tiles; n x n is never held for all rows.
class RepeatPass
{
public:
    RepeatPass(const Decoder& decoder, std::vector<RepeatChunk> chunks, std::int64_t seq_len);

    /// Layer `layer`, after all those before it: k, v [num_kv_heads, seq_len, head_dim], the prompt's.
    RepeatMaxima layer(std::int64_t layer, const at::Tensor& k, const at::Tensor& v);

    /// Per chunk, the residual stream [n, hidden_size] before the next layer.
    std::vector<at::Tensor>& streams() { return streams_; }
    const std::vector<at::Tensor>& streams() const { return streams_; }

private:
    const Decoder& decoder_;
    std::vector<RepeatChunk> chunks_;
    std::vector<at::Tensor> streams_;
    std::vector<Rope> ropes_; ///< per chunk
    std::int64_t seq_len_;
};

} // namespace lava
