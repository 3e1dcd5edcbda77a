#include "replay/losses/loss.h"

#include "analysis/quantities.h"
#include "base/distinct.h"
#include "base/sizes.h"
#include "compute/linear.h"
#include "compute/norms.h"
#include "compute/parallel.h"
#include "model/decoder.h"
#include "replay/losses/bounds.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

using Counts = std::vector<std::int64_t>;

// Which of the G sets of head counts are alike: the W_O product is made once for each different one.
struct DistinctCounts
{
    std::vector<std::size_t> index; // [G] into sets
    Distinct<Counts> sets;
};

DistinctCounts distinct_counts(std::span<const std::int64_t> counts, std::int64_t num_kv_heads)
{
    DistinctCounts distinct;
    for (std::size_t begin = 0; begin < counts.size(); begin += index(num_kv_heads)) {
        const auto set = counts.subspan(begin, index(num_kv_heads));
        distinct.index.push_back(distinct.sets.add(Counts(set.begin(), set.end())));
    }
    return distinct;
}

// Tensors that an engine reads, contiguous, for as long as it lives.
struct EngineTensors
{
    at::Tensor k, v, k_eval, v_eval, q_eval, w_o;

    explicit EngineTensors(const LayerView& layer)
        : k(layer.k.contiguous())
        , v(layer.v.contiguous())
        , k_eval(layer.k_eval.contiguous())
        , v_eval(layer.v_eval.contiguous())
        , q_eval(layer.q_eval.contiguous())
        , w_o(layer.w_o.contiguous())
    { }

    LossInputs inputs(const LayerView& layer) const
    {
        const auto& shape = layer.shape;
        return {{shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.hidden_size, layer.seq_len, layer.eval_len,
                    layer.sliding_window},
            k.const_data_ptr<float>(), v.const_data_ptr<float>(), k_eval.const_data_ptr<float>(),
            v_eval.const_data_ptr<float>(), q_eval.const_data_ptr<float>(), w_o.const_data_ptr<float>()};
    }
};

} // namespace

struct LayerAttention::State
{
    const LayerView& layer;
    std::int64_t heads;
    std::int64_t steps;
    BoundTerms bounds;
    LayerNorms norms;
    const Decoder* model;
    EngineTensors tensors;
    std::unique_ptr<LayerEngine> engine;

    State(const LayerView& view, int threads, const Decoder* decoder, const Device& device)
        : layer(view)
        , heads(view.shape.num_heads)
        , steps(view.eval_len)
        , bounds(bound_terms(view, threads))
        , model(decoder)
        , tensors(view)
        , engine(device.attend(tensors.inputs(view), threads))
    {
        const auto outputs = engine->full_outputs();
        head_norms(outputs);
        const auto z = at::tensor(std::vector<float>(outputs.begin(), outputs.end()));
        layer_norms(z.view({heads, steps, view.shape.head_dim}).transpose(0, 1).reshape({steps, -1}));
    }

    // outputs: [num_heads, T, head_dim]
    void head_norms(const std::vector<double>& outputs)
    {
        const auto head_dim = layer.shape.head_dim;
        for (std::int64_t row = 0; row < heads * steps; ++row) {
            const auto norm = norms_of(outputs.data() + row * head_dim, head_dim);
            norms.head_output_l1.push_back(static_cast<float>(norm.l1));
            norms.head_output_l2.push_back(static_cast<float>(norm.l2));
        }
    }

    void layer_norms(const at::Tensor& outputs)
    {
        auto y = at::mm(outputs, layer.w_o.t());
        if (layer.b_o.defined()) {
            y.add_(layer.b_o);
        }
        for (std::int64_t step = 0; step < steps; ++step) {
            const auto norm = norms_of(y.const_data_ptr<float>() + step * y.size(1), y.size(1));
            norms.attn_out_l1.push_back(norm.l1);
            norms.attn_out_l2.push_back(norm.l2);
        }
        if (model != nullptr) {
            add_norms(layer.resid_mid + layer.mlp_out, norms.layer_out_l1, norms.layer_out_l2);
        }
    }

    static void add_norms(const at::Tensor& rows, std::vector<double>& l1, std::vector<double>& l2)
    {
        for (std::int64_t row = 0; row < rows.size(0); ++row) {
            const auto norm = norms_of(rows.const_data_ptr<float>() + row * rows.size(1), rows.size(1));
            l1.push_back(norm.l1);
            l2.push_back(norm.l2);
        }
    }

    // Loss 4 of every set.
    void layer_output_losses(const SetLosses& found, std::int64_t rows, LayerLosses& losses) const
    {
        const auto sets_at_once = std::max<std::int64_t>(1, 768 / steps); // bounds what the FFN's width takes
        for (std::int64_t first = 0; first < rows; first += sets_at_once * steps) {
            const auto count = std::min(sets_at_once * steps, rows - first);
            const auto z = at::from_blob(found.differences.get() + first * found.row_stride,
                {count, heads, layer.shape.head_dim}, {found.row_stride, found.head_stride, 1}, at::kFloat);
            const auto y = project(z.reshape({count, -1}), layer.w_o);
            add_norms(y + model->mlp_change(layer.layer, layer.resid_mid, y), losses.layer_out_l1, losses.layer_out_l2);
        }
    }

    // evicted_mass: [num_heads, T] of one set
    void add_bounds(const double* evicted_mass, LayerLosses& losses) const
    {
        const auto group = layer.shape.group_size();
        for (std::int64_t step = 0; step < steps; ++step) {
            double by_value = 0;
            double by_projection = 0;
            double total = 0;
            double largest = 0;
            for (std::int64_t head = 0; head < heads; ++head) {
                const auto mass = evicted_mass[head * steps + step];
                const auto projected = bounds.projected_norm[static_cast<std::size_t>(head * steps + step)];
                by_value += bounds.value_norm[static_cast<std::size_t>(head / group * steps + step)] * mass;
                by_projection += projected * mass;
                total += mass;
                largest = std::max(largest, projected);
            }
            losses.bound_lava.push_back(2 * bounds.row_sum * by_value);
            losses.bound_adakv.push_back(2 * largest * total);
            losses.bound_projected.push_back(2 * by_projection);
        }
    }
};

namespace {

template <typename T>
std::vector<T> spread_sets(const std::vector<T>& of_sets, const std::vector<std::size_t>& index, std::size_t size)
{
    std::vector<T> result;
    result.reserve(index.size() * size);
    for (const auto set : index) {
        const auto begin = of_sets.begin() + static_cast<std::ptrdiff_t>(set * size);
        result.insert(result.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
    }
    return result;
}

} // namespace

LayerAttention::LayerAttention(const LayerView& layer, int threads, const Decoder* model, const Device& device)
    : state_(std::make_unique<State>(layer, threads, model, device))
{ }

LayerAttention::~LayerAttention() = default;

const LayerNorms& LayerAttention::norms() const
{
    return state_->norms;
}

LayerLosses LayerAttention::losses(std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts) const
{
    const auto distinct = distinct_counts(counts, state_->layer.shape.num_kv_heads);
    const auto sets = distinct.sets.values().size();
    auto found = state_->engine->losses({ranking.data(), distinct.sets.values(), state_->model != nullptr});

    LayerLosses losses;
    losses.head_l1.resize(found.evicted_share.size());
    std::ranges::transform(
        found.evicted_share, losses.head_l1.begin(), [](double share) { return static_cast<float>(2 * share); });
    losses.head_output_l1 = std::move(found.head_output_l1);
    losses.head_output_l2 = std::move(found.head_output_l2);
    losses.attn_out_l1 = std::move(found.attn_out_l1);
    losses.attn_out_l2 = std::move(found.attn_out_l2);
    if (state_->model != nullptr) {
        state_->layer_output_losses(found, static_cast<std::int64_t>(losses.attn_out_l1.size()), losses);
    }
    for (std::size_t set = 0; set < sets; ++set) {
        state_->add_bounds(found.evicted_share.data() + set * (found.evicted_share.size() / sets), losses);
    }
    for_each_loss([&](const auto& loss) {
        auto& values = losses.*loss.array; // empty: of a layer's output without the model
        values = spread_sets(values, distinct.index, values.size() / std::max<std::size_t>(sets, 1));
    });
    return losses;
}

} // namespace lava
