#include "capture/repeat_pass.h"

#include "base/error.h"
#include "compute/attention.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lava {

namespace {

constexpr std::int64_t num_sinks = 4;
constexpr std::int64_t tokens_of_the_chunk_before = 8;
constexpr std::int64_t tile_rows = 256;

/// What one layer's attention over one chunk's repetition is made of.
struct Repetition
{
    at::Tensor q; // [num_heads, n, head_dim]
    at::Tensor keys; // [num_kv_heads, sinks + chunk + n, head_dim]
    at::Tensor values; // [num_kv_heads, chunk, head_dim], of the chunk's entries
    at::Tensor input_norm; // [n], of what the attention reads
    at::Tensor w_o; // [hidden_size, num_heads * head_dim]
    std::int64_t sinks = 0;

    std::int64_t chunk() const { return values.size(1); }
    std::int64_t rows() const { return q.size(1); }
    std::int64_t group() const { return q.size(0) / keys.size(0); }
};

/// Attention of query rows [first, first + rows) of a KV head's group over all of `keys`: [group, rows, columns].
at::Tensor tile_attention(const Repetition& rep, std::int64_t kv_head, std::int64_t first, std::int64_t rows)
{
    const auto q = rep.q.narrow(0, kv_head * rep.group(), rep.group()).narrow(1, first, rows);
    auto scores = at::matmul(q, rep.keys[kv_head].t()) / std::sqrt(static_cast<double>(q.size(2)));
    const auto own = scores.narrow(2, rep.sinks + rep.chunk(), rep.rows());
    const auto future = at::ones({rows, rep.rows()}, scores.options().dtype(at::kBool)).triu(first + 1);
    own.masked_fill_(future, -std::numeric_limits<double>::infinity());
    return at::softmax(scores, -1);
}

/// ||v W_O,h|| of the chunk's entries for the query heads of a group, [group, chunk].
at::Tensor output_norms(const Repetition& rep, std::int64_t kv_head)
{
    const auto dim = rep.q.size(2);
    std::vector<at::Tensor> norms;
    for (std::int64_t h = 0; h < rep.group(); ++h) {
        const auto head_w_o = rep.w_o.narrow(1, (kv_head * rep.group() + h) * dim, dim); // [hidden_size, head_dim]
        norms.push_back(at::matmul(rep.values[kv_head], head_w_o.t()).norm(2, 1));
    }
    return at::stack(norms);
}

/// Writes a KV head's maxima over the repetition's queries and the group into plain and plus [chunk].
void head_maxima(const Repetition& rep, std::int64_t kv_head, const at::Tensor& plain, const at::Tensor& plus)
{
    const auto norms = output_norms(rep, kv_head);
    for (std::int64_t first = 0; first < rep.rows(); first += tile_rows) {
        const auto rows = std::min(tile_rows, rep.rows() - first);
        const auto attention = tile_attention(rep, kv_head, first, rows).narrow(2, rep.sinks, rep.chunk());
        const auto scaled = attention / rep.input_norm.narrow(0, first, rows).unsqueeze(1); // [group, rows, chunk]
        const auto of_tile = attention.amax({0, 1}).to(at::kCPU, at::kFloat);
        const auto plus_of_tile = (scaled.amax(1) * norms).amax(0).to(at::kCPU, at::kFloat);
        plain.copy_(at::maximum(plain, of_tile));
        plus.copy_(at::maximum(plus, plus_of_tile));
    }
}

/// Keeps the norm of what the attention reads.
struct InputNorm : Observer
{
    void on(std::string_view name, std::int64_t, const at::Tensor& value) override
    {
        if (wants(name)) {
            norm = value.norm(2, -1);
        }
    }
    bool wants(std::string_view name) const override { return name == "attn_in"; }
    at::Tensor norm; // [n]
};

} // namespace

RepeatTexts repeat_texts(const Tokenizer& tokenizer)
{
    RepeatTexts texts;
    std::string before, after = "\n";
    if (tokenizer.has_chat_template()) {
        // The separator marks where the user's text ends: a template may trim white space, so it cannot be empty.
        const std::string context = "dummy context", separator = "\n" + std::string(context.size(), '#');
        const auto whole = tokenizer.apply_chat_template({{"user", context + separator}});
        const auto begin = whole.find(context), end = whole.find(separator);
        if (begin == std::string::npos || end == std::string::npos) {
            throw Error("--repeat-pass: the model's chat template does not hold the user's text as it is");
        }
        before = whole.substr(0, begin);
        after = whole.substr(end + separator.size());
    }
    const auto encode = [&](const std::string& text) { return tokenizer.encode(text, false).ids; };
    texts.prefix_length = before.empty() ? 0 : std::ssize(encode(before));
    texts.suffix = encode(after);
    texts.ask_first = encode("\n\nRepeat the previous context exactly.");
    texts.ask_next = encode("\n\nRepeat the part of the previous context exactly, starting with");
    return texts;
}

std::vector<RepeatChunk> repeat_chunks(
    const std::vector<std::int64_t>& prompt_ids, const RepeatTexts& texts, std::int64_t chunk_size)
{
    const std::int64_t seq_len = std::ssize(prompt_ids);
    std::vector<RepeatChunk> chunks;
    for (auto begin = texts.prefix_length; begin < seq_len; begin += chunk_size) {
        RepeatChunk chunk{begin, std::min(begin + chunk_size, seq_len), {}};
        const auto append = [&](auto first, auto last) { chunk.ids.insert(chunk.ids.end(), first, last); };
        const auto& ask = chunks.empty() ? texts.ask_first : texts.ask_next;
        append(ask.begin(), ask.end());
        if (!chunks.empty()) {
            const auto tail = std::min(tokens_of_the_chunk_before, chunk_size);
            append(prompt_ids.begin() + begin - tail, prompt_ids.begin() + begin);
        }
        append(texts.suffix.begin(), texts.suffix.end());
        append(prompt_ids.begin() + chunk.begin, prompt_ids.begin() + chunk.end);
        chunks.push_back(std::move(chunk));
    }
    return chunks;
}

RepeatPass::RepeatPass(const Decoder& decoder, std::vector<RepeatChunk> chunks, std::int64_t seq_len)
    : decoder_(decoder)
    , chunks_(std::move(chunks))
    , seq_len_(seq_len)
{
    for (const RepeatChunk& chunk : chunks_) {
        streams_.push_back(decoder.embed(at::tensor(chunk.ids, at::kLong)));
        const auto end = seq_len + std::ssize(chunk.ids);
        ropes_.push_back(decoder.rope_at(at::arange(seq_len, end, at::kLong), end));
    }
}

RepeatMaxima RepeatPass::layer(std::int64_t layer, const at::Tensor& k, const at::Tensor& v)
{
    const auto kv_heads = k.size(0);
    RepeatMaxima maxima{at::zeros({kv_heads, seq_len_}, at::kFloat), at::zeros({kv_heads, seq_len_}, at::kFloat)};
    const int workers = k.is_cpu() ? worker_threads() : 1;
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
        const auto begin = chunks_[i].begin, size = chunks_[i].end - chunks_[i].begin;
        InputNorm input;
        const auto attend = [&](const at::Tensor& q, const at::Tensor& own_k, const at::Tensor& own_v) {
            const auto sinks = std::min(num_sinks, begin);
            const Repetition rep{q, at::cat({k.narrow(1, 0, sinks), k.narrow(1, begin, size), own_k}, 1),
                v.narrow(1, begin, size), input.norm, decoder_.w_o(layer), sinks};
            parallel_items(kv_heads, workers, [&](std::int64_t head) {
                head_maxima(
                    rep, head, maxima.plain[head].narrow(0, begin, size), maxima.plus[head].narrow(0, begin, size));
            });
            return causal_attention(q, at::cat({k, own_k}, 1), at::cat({v, own_v}, 1), false).z;
        };
        streams_[i]
            = decoder_.layer(layer, streams_[i].to(k.device()), on_device(ropes_[i], k.device()), attend, &input);
    }
    return maxima;
}

} // namespace lava
