#pragma once

#include "traces/model_shape.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lava {

/// The format this build writes. A reader refuses a newer major version; a newer minor version only adds.
inline constexpr std::int64_t trace_format_major = 1;
inline constexpr std::int64_t trace_format_minor = 3;

/// A named stretch of prompt tokens, half open.
struct Span
{
    std::string name;
    std::int64_t begin = 0;
    std::int64_t end = 0;

    bool operator==(const Span&) const = default;
};

/// How tensors lie in the file. bf16 is stored as uint16 with the attribute dtype = "bfloat16".
enum class StoreType
{
    f32,
    f16,
    bf16
};

/// What a trace says of itself, without its tensors. Strings are UTF-8 except token texts, which are raw bytes.
struct TraceInfo
{
    std::string file; ///< where it was read from; not stored
    std::int64_t format_major = trace_format_major;
    std::int64_t format_minor = trace_format_minor;
    std::string generator; ///< program and version that wrote it
    std::string model_name;
    std::string model_config; ///< config.json as text; empty where unknown
    std::string weights_sha256; ///< of the checkpoint; empty where unknown
    /// Where attn_out was taken, if that is not what is added to the residual stream: "before the post-attention norm".
    std::string attn_out_at;
    std::string device; ///< of the run: "cpu", "cuda:0"
    std::string run_dtype; ///< of the run: "float32", "float16", "bfloat16"
    std::string continuation; ///< where the evaluation steps come from: "greedy", "reference" or empty
    std::string tokenization; ///< JSON: chat template, answer prefix and so on, as they were used; may be empty
    StoreType store_type = StoreType::f32; ///< the coarsest of the layer tensors

    ModelShape shape;
    /// Where the trace holds a part of the model's layers or KV heads, and `shape` counts those: their numbers in the
    /// model, ascending, [num_layers] and [num_kv_heads]; empty: all (traces/recorded_part.h).
    std::vector<std::int64_t> layer_numbers, kv_head_numbers;
    /// [num_layers] sliding windows: a query at position p sees p - window + 1 to p; 0: all before it. Empty: no layer
    /// has one.
    std::vector<std::int64_t> layer_windows;
    std::int64_t vocab_size = 0; ///< 0 where unknown
    /// The pairs (i, i + size) of a head's first 2 * size numbers turn by position * rope_inv_freq[i]; empty: unknown.
    std::vector<double> rope_inv_freq;
    double rope_attention_scaling = 1; ///< what the rotary embedding multiplies queries and keys by (yarn, longrope)
    std::int64_t seq_len = 0; ///< N, tokens of the prompt
    std::int64_t eval_len = 0; ///< T, evaluation steps; 0 where the trace has no loss part
    std::int64_t window = 0; ///< query rows recorded: the last `window` tokens of the prompt

    std::vector<std::int64_t> prompt_ids; ///< [seq_len], empty where unknown
    std::vector<std::string> prompt_texts; ///< [seq_len] bytes of each token, empty where unknown
    std::vector<std::int64_t> eval_ids; ///< [eval_len], the inputs of the evaluation steps
    std::vector<std::string> eval_texts; ///< [eval_len]
    /// The most likely token after the prompt, by the logits of its last token; -1: unknown.
    std::int64_t next_id = -1;
    std::vector<Span> spans;

    bool has_losses = false; ///< q_eval, k_eval, v_eval, w_o in every layer: what losses 1-3 and the bounds need
    bool has_outputs = false; ///< attn_out too, so that the trace can be verified against itself
    bool has_observed_attention = false; ///< column sums over the prompt's queries, which H2O needs
    bool has_query_statistics = false; ///< q_pre_rope_mean and q_pre_rope_cov, which expected attention needs
    bool has_repeat_maxima = false; ///< of the repeat pass, which KVzip needs
    bool has_repeat_maxima_plus = false; ///< maxima of the repeat pass for KVzip+
    bool has_layer_outputs = false; ///< resid_mid and mlp_out too, for losses of layer outputs; not part of a report
    bool has_logits = false;
    bool has_digests = false; ///< of every dataset and attribute, linked weights included; not part of a report
};

} // namespace lava
