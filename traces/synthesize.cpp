#include "traces/synthesize.h"

#include "base/formatted.h"
#include "base/program.h"
#include "base/split_mix.h"
#include "traces/layer_datasets.h"
#include "traces/trace_metadata.h"
#include "traces/trace_writer.h"
#include "traces/verify.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace lava {

namespace {

constexpr std::int64_t num_sinks = 4;
constexpr float sink_gain = 7;
constexpr double heavy_hitter_share = 0.02;
constexpr float heavy_hitter_gain = 5;
constexpr float recency_gain = 1.5F;
constexpr float sink_value_scale = 0.1F; // models give their sinks small values

/// What a stream of random numbers is for; part of its key.
enum class Topic : std::uint64_t
{
    direction,
    column_sum,
    temperature,
    value_scale,
    heavy,
    key,
    value,
    query,
    w_o,
    resid_pre,
    mlp_out,
    query_statistics,
    repeat
};

/// Random numbers by index: any element can be had without those before it.
class Random
{
public:
    Random(std::int64_t seed, std::int64_t layer, Topic topic, std::int64_t head)
    {
        for (const auto part : {seed, layer, static_cast<std::int64_t>(topic), head})
            key_ = split_mix(key_ + split_mix_increment + static_cast<std::uint64_t>(part));
    }

    std::uint64_t bits(std::uint64_t index) const { return split_mix(key_ + (index + 1) * split_mix_increment); }

    /// A number in [0, 1).
    double uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

    /// Mean 0, variance 1: the sum of four uniform 16-bit numbers, which no libm can change.
    float normal(std::uint64_t index) const
    {
        const auto x = bits(index);
        const auto sum = (x & 0xffff) + ((x >> 16) & 0xffff) + ((x >> 32) & 0xffff) + (x >> 48);
        return (static_cast<float>(sum) - 131070.0F) * (1 / 37837.22F);
    }

private:
    std::uint64_t key_ = 0;
};

at::Tensor rounded(const at::Tensor& tensor, StoreType store)
{
    if (store == StoreType::f32)
        return tensor;
    return tensor.to(store == StoreType::f16 ? at::kHalf : at::kBFloat16).to(at::kFloat);
}

at::Tensor normals(const Random& random, at::IntArrayRef extents, float scale)
{
    const auto tensor = at::empty(extents, at::kFloat);
    auto* values = tensor.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
        values[i] = scale * random.normal(static_cast<std::uint64_t>(i));
    return tensor;
}

/// What makes a KV head and its query heads attend as they do.
class HeadPattern
{
public:
    HeadPattern(const SynthesisOptions& options, std::int64_t layer, std::int64_t kv_head)
        : options_(options)
        , heavy_(options.seed, layer, Topic::heavy, kv_head)
        , directions_(normals({options.seed, layer, Topic::direction, kv_head}, {3, options.shape.head_dim}, 1))
    {
        auto* rows = directions_.mutable_data_ptr<float>();
        for (int row = 0; row < 3; ++row)
            normalise(rows + row * options.shape.head_dim);
    }

    /// How much more than others the token at `position` is looked at.
    float gain(std::int64_t position) const
    {
        if (position < num_sinks)
            return sink_gain;
        const auto index = static_cast<std::uint64_t>(position);
        const bool is_heavy = position < options_.seq_len && heavy_.uniform(2 * index) < heavy_hitter_share;
        return is_heavy ? heavy_hitter_gain * static_cast<float>(heavy_.uniform(2 * index + 1)) : 0;
    }

    /// Adds to a row of head_dim: `content` along the first direction, and the position, which near tokens share.
    void add(float* row, std::int64_t position, float content, float nearness) const
    {
        const auto angle = std::numbers::pi * static_cast<double>(position)
            / static_cast<double>(options_.seq_len + options_.eval_len);
        const auto cosine = nearness * static_cast<float>(std::cos(angle));
        const auto sine = nearness * static_cast<float>(std::sin(angle));
        const auto* direction = directions_.const_data_ptr<float>();
        const auto dim = options_.shape.head_dim;
        for (std::int64_t i = 0; i < dim; ++i)
            row[i] += content * direction[i] + cosine * direction[dim + i] + sine * direction[2 * dim + i];
    }

private:
    void normalise(float* row) const
    {
        float squares = 0;
        for (std::int64_t i = 0; i < options_.shape.head_dim; ++i)
            squares += row[i] * row[i];
        for (std::int64_t i = 0; i < options_.shape.head_dim; ++i)
            row[i] /= std::sqrt(squares);
    }

    const SynthesisOptions& options_;
    Random heavy_;
    at::Tensor directions_; // [3, head_dim], unit rows
};

/// The rows [begin, end) of every head's K, V or Q.
struct Rows
{
    std::int64_t begin;
    std::int64_t end;
    at::Tensor empty(std::int64_t heads, std::int64_t dim) const
    {
        return at::empty({heads, end - begin, dim}, at::kFloat);
    }
};

at::Tensor keys(const SynthesisOptions& options, std::int64_t layer, Rows rows)
{
    const auto dim = options.shape.head_dim;
    const auto tensor = rows.empty(options.shape.num_kv_heads, dim);
    auto* row = tensor.mutable_data_ptr<float>();
    for (std::int64_t head = 0; head < options.shape.num_kv_heads; ++head) {
        const HeadPattern pattern(options, layer, head);
        const Random noise(options.seed, layer, Topic::key, head);
        for (auto position = rows.begin; position < rows.end; ++position, row += dim) {
            for (std::int64_t i = 0; i < dim; ++i)
                row[i] = noise.normal(static_cast<std::uint64_t>(position * dim + i));
            pattern.add(row, position, pattern.gain(position), recency_gain);
        }
    }
    return rounded(tensor, options.store);
}

at::Tensor values(const SynthesisOptions& options, std::int64_t layer, Rows rows)
{
    const auto dim = options.shape.head_dim;
    const auto tensor = rows.empty(options.shape.num_kv_heads, dim);
    auto* row = tensor.mutable_data_ptr<float>();
    for (std::int64_t head = 0; head < options.shape.num_kv_heads; ++head) {
        const Random noise(options.seed, layer, Topic::value, head);
        const auto head_scale = 0.5 + 1.5 * Random(options.seed, layer, Topic::value_scale, head).uniform(0);
        for (auto position = rows.begin; position < rows.end; ++position, row += dim) {
            const auto scale = static_cast<float>(head_scale) * (position < num_sinks ? sink_value_scale : 1);
            for (std::int64_t i = 0; i < dim; ++i)
                row[i] = scale * noise.normal(static_cast<std::uint64_t>(position * dim + i));
        }
    }
    return rounded(tensor, options.store);
}

at::Tensor queries(const SynthesisOptions& options, std::int64_t layer, Rows rows)
{
    const auto dim = options.shape.head_dim;
    const auto tensor = rows.empty(options.shape.num_heads, dim);
    auto* row = tensor.mutable_data_ptr<float>();
    for (std::int64_t head = 0; head < options.shape.num_heads; ++head) {
        const HeadPattern pattern(options, layer, head / options.shape.group_size());
        const Random noise(options.seed, layer, Topic::query, head);
        // so that the scaled product with a key's own direction is about its gain
        const auto strength = std::sqrt(static_cast<float>(dim));
        const auto temperature
            = static_cast<float>(0.6 + 1.2 * Random(options.seed, layer, Topic::temperature, head).uniform(0));
        for (auto position = rows.begin; position < rows.end; ++position, row += dim) {
            for (std::int64_t i = 0; i < dim; ++i)
                row[i] = noise.normal(static_cast<std::uint64_t>(position * dim + i));
            pattern.add(row, position, strength, strength * recency_gain);
            for (std::int64_t i = 0; i < dim; ++i)
                row[i] *= temperature;
        }
    }
    return rounded(tensor, options.store);
}

/// [num_heads, seq_len]: a token's attention to itself, plausibly: less the more it sees.
at::Tensor own_attention(const SynthesisOptions& options)
{
    const auto row = at::empty({options.seq_len}, at::kFloat);
    for (std::int64_t i = 0; i < options.seq_len; ++i)
        row.mutable_data_ptr<float>()[i] = 1.0F / static_cast<float>(i + 1 - first_seen(i, options.sliding_window));
    return row.expand({options.shape.num_heads, options.seq_len});
}

/// Queries of later tokens of the prompt that see the token at `position`.
float seen_by_later(const SynthesisOptions& options, std::int64_t position)
{
    const auto later = options.seq_len - 1 - position;
    return static_cast<float>(options.sliding_window == 0 ? later : std::min(later, options.sliding_window - 1));
}

/// [num_heads, seq_len]: column sums without the diagonal; no column exceeds the number of queries that see it.
at::Tensor column_sums(const SynthesisOptions& options, std::int64_t layer)
{
    const auto tensor = at::empty({options.shape.num_heads, options.seq_len}, at::kFloat);
    auto* row = tensor.mutable_data_ptr<float>();
    for (std::int64_t head = 0; head < options.shape.num_heads; ++head, row += options.seq_len) {
        const HeadPattern pattern(options, layer, head / options.shape.group_size());
        const Random noise(options.seed, layer, Topic::column_sum, head);
        double sum = 0;
        for (std::int64_t i = 0; i < options.seq_len; ++i) {
            row[i]
                = seen_by_later(options, i) * std::exp(pattern.gain(i) + noise.normal(static_cast<std::uint64_t>(i)));
            sum += row[i];
        }
        const auto scale = sum > 0 ? static_cast<float>(static_cast<double>(options.seq_len) / sum) : 0;
        for (std::int64_t i = 0; i < options.seq_len; ++i)
            row[i] = std::min(row[i] * scale, seen_by_later(options, i));
    }
    return tensor;
}

/// Mean and covariance of the queries before RoPE: the covariance is a sum of squares plus a diagonal, as theirs are.
void add_query_statistics(LayerView& view, const SynthesisOptions& options)
{
    const auto heads = options.shape.num_heads, dim = options.shape.head_dim;
    view.q_pre_rope_mean = at::empty({heads, dim}, at::kFloat);
    view.q_pre_rope_cov = at::empty({heads, dim, dim}, at::kFloat);
    auto* mean = view.q_pre_rope_mean.mutable_data_ptr<float>();
    auto* covariance = view.q_pre_rope_cov.mutable_data_ptr<float>();
    for (std::int64_t head = 0; head < heads; ++head, mean += dim, covariance += dim * dim) {
        const Random random(options.seed, view.layer, Topic::query_statistics, head);
        const auto factor = [&](std::int64_t i) { return 0.5F * random.normal(static_cast<std::uint64_t>(dim + i)); };
        for (std::int64_t i = 0; i < dim; ++i) {
            mean[i] = random.normal(static_cast<std::uint64_t>(i));
            for (std::int64_t j = 0; j < dim; ++j)
                covariance[i * dim + j] = factor(i) * factor(j) + (i == j ? 1 : 0);
        }
    }
}

/// [num_kv_heads, seq_len] in [0, 1]: a token that is looked at is looked at while it is repeated, too.
at::Tensor repeat_maxima(const SynthesisOptions& options, std::int64_t layer)
{
    const auto tensor = at::empty({options.shape.num_kv_heads, options.seq_len}, at::kFloat);
    auto* row = tensor.mutable_data_ptr<float>();
    for (std::int64_t head = 0; head < options.shape.num_kv_heads; ++head, row += options.seq_len) {
        const HeadPattern pattern(options, layer, head);
        const Random noise(options.seed, layer, Topic::repeat, head);
        for (std::int64_t i = 0; i < options.seq_len; ++i) {
            const auto share = static_cast<float>(noise.uniform(static_cast<std::uint64_t>(i)));
            row[i] = share * (1 + pattern.gain(i)) / (1 + std::max(heavy_hitter_gain, sink_gain));
        }
    }
    return tensor;
}

/// Inverse frequencies for theta = 10000, the original RoPE's.
std::vector<double> inverse_frequencies(std::int64_t head_dim)
{
    std::vector<double> frequencies;
    for (std::int64_t i = 0; i < head_dim / 2; ++i)
        frequencies.push_back(std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
    return frequencies;
}

void add_evaluation(LayerView& view, const SynthesisOptions& options)
{
    const Rows steps = {options.seq_len, options.seq_len + options.eval_len};
    view.q_eval = queries(options, view.layer, steps);
    view.k_eval = keys(options, view.layer, steps);
    view.v_eval = values(options, view.layer, steps);
    if (!view.w_o.defined())
        return;
    const auto stream = [&](Topic topic, float scale) {
        const Random random(options.seed, view.layer, topic, 0);
        return rounded(normals(random, {options.eval_len, options.shape.hidden_size}, scale), options.store);
    };
    view.attn_out = rounded(recompute_attn_out(view), options.store);
    view.resid_pre = stream(Topic::resid_pre, 1);
    view.resid_mid = rounded(view.resid_pre + view.attn_out, options.store);
    view.mlp_out = stream(Topic::mlp_out, 0.5F);
}

} // namespace

TraceInfo synthesize_info(const SynthesisOptions& options)
{
    TraceInfo info;
    info.generator = "lava-trace synth " + std::string(version());
    info.model_name = formatted("synthetic, seed {}", options.seed);
    info.device = "none";
    info.run_dtype = to_string(options.store);
    info.store_type = options.store;
    info.shape = options.shape;
    info.seq_len = options.seq_len;
    info.eval_len = options.eval_len;
    info.window = options.window;
    const auto middle = options.seq_len / 2;
    if (options.seq_len > 0)
        info.spans = {{"middle", middle, std::min(options.seq_len, middle + 1 + options.seq_len / 64)}};
    info.has_losses = options.eval_len > 0 && options.shape.hidden_size > 0;
    info.has_outputs = info.has_losses;
    info.has_layer_outputs = info.has_losses;
    info.has_observed_attention = true;
    info.has_query_statistics = true;
    info.has_repeat_maxima = true;
    info.has_repeat_maxima_plus = true;
    info.rope_inv_freq = inverse_frequencies(std::max<std::int64_t>(options.shape.head_dim, 0));
    check_metadata(info, "synthetic trace");
    if (options.sliding_window != 0) { // now that there are not absurdly many layers
        info.layer_windows.assign(static_cast<std::size_t>(options.shape.num_layers), options.sliding_window);
        check_metadata(info, "synthetic trace");
    }
    return info;
}

LayerView synthesize_layer(const SynthesisOptions& options, std::int64_t layer)
{
    LayerView view;
    view.layer = layer;
    view.shape = options.shape;
    view.seq_len = options.seq_len;
    view.window = options.window;
    view.sliding_window = options.sliding_window;
    view.eval_len = options.eval_len;
    view.roundoff = view.w_o_roundoff = roundoff_of(options.store);
    view.k = keys(options, layer, {0, options.seq_len});
    view.v = values(options, layer, {0, options.seq_len});
    view.q_window = queries(options, layer, {options.seq_len - options.window, options.seq_len});
    view.observed_attention_off_diagonal = column_sums(options, layer);
    view.observed_attention = view.observed_attention_off_diagonal + own_attention(options);
    add_query_statistics(view, options);
    view.repeat_maxima = repeat_maxima(options, layer);
    view.repeat_maxima_plus = view.repeat_maxima * view.v.norm(2, 2);
    const auto inputs = options.shape.num_heads * options.shape.head_dim;
    const auto w_o_scale = 1 / std::sqrt(static_cast<float>(inputs));
    if (options.shape.hidden_size > 0)
        view.w_o
            = rounded(normals({options.seed, layer, Topic::w_o, 0}, {options.shape.hidden_size, inputs}, w_o_scale),
                options.store);
    if (options.eval_len > 0)
        add_evaluation(view, options);
    return view;
}

void synthesize_trace(const SynthesisOptions& options, const std::filesystem::path& file)
{
    TraceWriter writer(file, synthesize_info(options), {.store = options.store, .weights_file = {}, .deflate = 0});
    Progress progress("layers", options.shape.num_layers);
    for (std::int64_t layer = 0; layer < options.shape.num_layers; ++layer) {
        writer.write_layer(synthesize_layer(options, layer));
        progress.step();
    }
    writer.finish();
}

} // namespace lava
