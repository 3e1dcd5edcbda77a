#include "replay/losses/loss.h"

#include "analysis/quantities.h"
#include "compute/cpu/kernels/kernels.h"
#include "compute/linear.h"
#include "compute/parallel.h"
#include "model/decoder.h"
#include "replay/losses/bounds.h"
#include "replay/losses/head_attention.h"
#include "replay/losses/output_projection.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace lava {

namespace {

using Counts = std::vector<std::int64_t>;

struct Norms
{
    double l1 = 0;
    double l2 = 0;
};

template <typename T> Norms norms_of(const T* values, std::int64_t count)
{
    double sum = 0;
    double squares = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        const auto value = static_cast<double>(values[i]);
        sum += std::abs(value);
        squares += value * value;
    }
    return {sum, std::sqrt(squares)};
}

// Which of the G sets of head counts are alike: the W_O product is made once for each different one.
struct DistinctCounts
{
    std::vector<std::size_t> index; // [G] into sets
    std::vector<Counts> sets; // [num_kv_heads] each
};

DistinctCounts distinct_counts(std::span<const std::int64_t> counts, std::int64_t num_kv_heads)
{
    DistinctCounts distinct;
    std::map<Counts, std::size_t> known;
    const auto heads = static_cast<std::size_t>(num_kv_heads);
    for (std::size_t begin = 0; begin < counts.size(); begin += heads) {
        Counts set(counts.begin() + static_cast<std::ptrdiff_t>(begin),
            counts.begin() + static_cast<std::ptrdiff_t>(begin + heads));
        const auto [position, is_new] = known.try_emplace(set, distinct.sets.size());
        if (is_new) {
            distinct.sets.push_back(std::move(set));
        }
        distinct.index.push_back(position->second);
    }
    return distinct;
}

// A head's counts over all sets, ascending, each once, and the sets that have each of them.
struct HeadCuts
{
    Counts counts;
    std::vector<std::vector<std::size_t>> sets; // [counts]
};

HeadCuts head_cuts(const std::vector<Counts>& sets, std::size_t head)
{
    std::map<std::int64_t, std::vector<std::size_t>> sets_of;
    for (std::size_t set = 0; set < sets.size(); ++set) {
        sets_of[sets[set][head]].push_back(set);
    }
    HeadCuts cuts;
    for (auto& [count, of_count] : sets_of) {
        cuts.counts.push_back(count);
        cuts.sets.push_back(std::move(of_count));
    }
    return cuts;
}

std::unique_ptr<LossEngine> make_engine(const LayerView& layer, const ReplayDevice& device)
{
    const auto k = layer.k.contiguous(), v = layer.v.contiguous(), k_eval = layer.k_eval.contiguous(),
               v_eval = layer.v_eval.contiguous(), q_eval = layer.q_eval.contiguous(), w_o = layer.w_o.contiguous();
    const auto& shape = layer.shape;
    return device.make_losses({{shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.hidden_size, layer.seq_len,
                                   layer.eval_len, layer.sliding_window},
        k.const_data_ptr<float>(), v.const_data_ptr<float>(), k_eval.const_data_ptr<float>(),
        v_eval.const_data_ptr<float>(), q_eval.const_data_ptr<float>(), w_o.const_data_ptr<float>()});
}

} // namespace

struct LayerAttention::State
{
    const LayerView& layer;
    std::int64_t heads;
    std::int64_t steps;
    std::vector<HeadAttention> attention; // [num_kv_heads]
    OutputProjection projection;
    BoundTerms bounds;
    LayerNorms norms;
    const Decoder* model;
    std::unique_ptr<LossEngine> engine; // null: this processor

    State(const LayerView& view, int threads, const Decoder* decoder, const ReplayDevice* device)
        : layer(view)
        , heads(view.shape.num_heads)
        , steps(view.eval_len)
        , attention(static_cast<std::size_t>(view.shape.num_kv_heads))
        , projection(view)
        , bounds(bound_terms(view, threads))
        , model(decoder)
        , engine(device == nullptr ? nullptr : make_engine(view, *device))
    {
        norms.head_output_l1.resize(static_cast<std::size_t>(heads * steps));
        norms.head_output_l2.resize(static_cast<std::size_t>(heads * steps));
        auto outputs = at::empty({steps, heads * view.shape.head_dim});
        const auto of_engine = engine ? engine->full_outputs() : std::vector<double>();
        parallel_items(view.shape.num_kv_heads, threads, [&](std::int64_t kv_head) {
            auto& head = attention[static_cast<std::size_t>(kv_head)];
            if (engine) {
                const auto size = view.shape.group_size() * steps * view.shape.head_dim;
                head_norms(kv_head, of_engine.data() + kv_head * size, view.shape.head_dim, outputs.data_ptr<float>());
            } else {
                head = attend(view, kv_head);
                head_norms(kv_head, full_output(head).data(), head.dim, outputs.data_ptr<float>());
            }
        });
        layer_norms(outputs);
    }

    std::size_t head_step(std::int64_t kv_head, std::int64_t column) const // into [num_heads, T]
    {
        return static_cast<std::size_t>(kv_head * layer.shape.group_size() * steps + column);
    }

    std::int64_t query_head(std::int64_t kv_head, std::int64_t column) const
    {
        return kv_head * layer.shape.group_size() + column / steps;
    }

    // Norms of one KV head's outputs z [columns, dim], and the outputs themselves into [T, num_heads * head_dim].
    void head_norms(std::int64_t kv_head, const double* z, std::int64_t dim, float* outputs)
    {
        const auto head_dim = layer.shape.head_dim;
        for (std::int64_t column = 0; column < layer.shape.group_size() * steps; ++column) {
            const auto* row = z + column * dim;
            const auto norm = norms_of(row, head_dim);
            norms.head_output_l1[head_step(kv_head, column)] = static_cast<float>(norm.l1);
            norms.head_output_l2[head_step(kv_head, column)] = static_cast<float>(norm.l2);
            auto* to = outputs + (column % steps * heads + query_head(kv_head, column)) * head_dim;
            std::transform(row, row + head_dim, to, [](double x) { return static_cast<float>(x); });
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

    // Loss 4 of every set, from o - ô [sets, T, row_stride].
    void layer_output_losses(const float* differences, std::int64_t rows, LayerLosses& losses) const
    {
        const auto sets_at_once = std::max<std::int64_t>(1, 768 / steps); // bounds what the FFN's width takes
        const auto stride = projection.row_stride();
        for (std::int64_t first = 0; first < rows; first += sets_at_once * steps) {
            const auto count = std::min(sets_at_once * steps, rows - first);
            auto* data = const_cast<float*>(differences) + first * stride; // from_blob takes no const
            const auto dim = padded(layer.shape.head_dim);
            const auto z = at::from_blob(data, {count, heads, layer.shape.head_dim}, {stride, dim, 1}, at::kFloat);
            const auto y = project(z.reshape({count, -1}), layer.w_o);
            add_norms(y + model->mlp_change(layer.layer, layer.resid_mid, y), losses.layer_out_l1, losses.layer_out_l2);
        }
    }

    // Losses 1 and 2 of one KV head for every set, and o - ô into `differences` [sets, T, row_stride].
    void head_losses(std::int64_t kv_head, const HeadCuts& cuts, std::span<const std::uint32_t> ranking,
        LayerLosses& losses, std::vector<double>& evicted_mass, float* differences) const
    {
        const auto& head = attention[static_cast<std::size_t>(kv_head)];
        const auto columns = static_cast<std::size_t>(head.columns);
        EvictionSweep sweep(head, ranking, cuts.counts);
        std::vector<float*> rows(columns);
        std::vector<double> l1(columns);
        std::vector<double> l2(columns);
        for (auto cut = cuts.counts.size(); cut-- > 0;) {
            sweep.advance();
            for (const auto set : cuts.sets[cut]) {
                for (std::int64_t column = 0; column < head.columns; ++column) {
                    const auto step = static_cast<std::int64_t>(set) * steps + column % steps;
                    rows[static_cast<std::size_t>(column)]
                        = differences + step * projection.row_stride() + query_head(kv_head, column) * head.dim;
                }
                sweep.differences(rows.data(), l1.data(), l2.data());
                const auto at = set * static_cast<std::size_t>(heads * steps) + head_step(kv_head, 0);
                for (std::size_t column = 0; column < columns; ++column) {
                    const auto share = sweep.evicted_share()[column];
                    evicted_mass[at + column] = share;
                    losses.head_l1[at + column] = static_cast<float>(2 * share);
                    losses.head_output_l1[at + column] = static_cast<float>(l1[column]);
                    losses.head_output_l2[at + column] = static_cast<float>(l2[column]);
                }
            }
        }
    }

    // All of that for every KV head by the engine, and the norms in the residual stream. differences: null unless
    // wanted.
    void engine_losses(const std::vector<Counts>& sets, std::span<const std::uint32_t> ranking, LayerLosses& losses,
        std::vector<double>& evicted_mass, float* differences) const
    {
        const auto kv_heads = static_cast<std::size_t>(layer.shape.num_kv_heads);
        CutRequest request{
            ranking.data(), {}, std::vector<std::int32_t>(sets.size() * kv_heads), differences != nullptr};
        for (std::size_t head = 0; head < kv_heads; ++head) {
            const auto cuts = head_cuts(sets, head);
            for (std::size_t cut = 0; cut < cuts.counts.size(); ++cut) {
                for (const auto set : cuts.sets[cut]) {
                    request.cut_of[set * kv_heads + head] = static_cast<std::int32_t>(cut);
                }
            }
            request.counts.push_back(cuts.counts);
        }
        const auto found = engine->losses(request);
        for (std::size_t i = 0; i < request.cut_of.size(); ++i) {
            place_engine_losses(found, i / kv_heads, static_cast<std::int64_t>(i % kv_heads), request.cut_of[i], losses,
                evicted_mass, differences);
        }
        losses.attn_out_l1 = found.attn_out_l1;
        losses.attn_out_l2 = found.attn_out_l2;
    }

    // What the engine found of one KV head at one cut, for a set that has it.
    void place_engine_losses(const CutLosses& found, std::size_t set, std::int64_t kv_head, std::int64_t cut,
        LayerLosses& losses, std::vector<double>& evicted_mass, float* differences) const
    {
        const auto columns = layer.shape.group_size() * steps, dim = layer.shape.head_dim;
        const auto to = set * static_cast<std::size_t>(heads * steps) + head_step(kv_head, 0);
        for (std::int64_t column = 0; column < columns; ++column) {
            const auto row = (kv_head * found.most_cuts + cut) * columns + column;
            const auto from = static_cast<std::size_t>(row), at = to + static_cast<std::size_t>(column);
            evicted_mass[at] = found.evicted_share[from];
            losses.head_l1[at] = static_cast<float>(2 * found.evicted_share[from]);
            losses.head_output_l1[at] = static_cast<float>(found.head_l1[from]);
            losses.head_output_l2[at] = static_cast<float>(found.head_l2[from]);
            if (differences != nullptr) {
                const auto step = static_cast<std::int64_t>(set) * steps + column % steps;
                std::copy_n(found.differences.begin() + row * dim, dim,
                    differences + step * projection.row_stride() + query_head(kv_head, column) * padded(dim));
            }
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

LayerAttention::LayerAttention(const LayerView& layer, int threads, const Decoder* model, const ReplayDevice* device)
    : state_(std::make_unique<State>(layer, threads, model, device))
{ }

LayerAttention::~LayerAttention() = default;

const LayerNorms& LayerAttention::norms() const
{
    return state_->norms;
}

LayerLosses LayerAttention::losses(std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts) const
{
    const auto& shape = state_->layer.shape;
    const auto n = static_cast<std::size_t>(state_->layer.seq_len);
    const auto distinct = distinct_counts(counts, shape.num_kv_heads);
    const auto sets = distinct.sets.size();
    const auto per_head = static_cast<std::size_t>(state_->heads * state_->steps);
    const auto per_layer = static_cast<std::size_t>(state_->steps);

    LayerLosses losses;
    losses.head_l1.resize(sets * per_head);
    losses.head_output_l1.resize(sets * per_head);
    losses.head_output_l2.resize(sets * per_head);
    std::vector<double> evicted_mass(sets * per_head);
    const auto rows = sets * per_layer;
    const auto stride = static_cast<std::size_t>(state_->projection.row_stride());
    const auto differences = std::make_unique_for_overwrite<float[]>(rows * stride);
    if (state_->engine) {
        state_->engine_losses(
            distinct.sets, ranking, losses, evicted_mass, state_->model != nullptr ? differences.get() : nullptr);
    } else {
        for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
            const auto index = static_cast<std::size_t>(head);
            state_->head_losses(head, head_cuts(distinct.sets, index), ranking.subspan(index * n, n), losses,
                evicted_mass, differences.get());
        }
        losses.attn_out_l1.resize(rows);
        losses.attn_out_l2.resize(rows);
        state_->projection.norms(
            differences.get(), static_cast<std::int64_t>(rows), losses.attn_out_l1.data(), losses.attn_out_l2.data());
    }
    if (state_->model != nullptr) {
        state_->layer_output_losses(differences.get(), static_cast<std::int64_t>(rows), losses);
    }
    for (std::size_t set = 0; set < sets; ++set) {
        state_->add_bounds(evicted_mass.data() + set * per_head, losses);
    }
    for_each_loss([&](const auto& loss) {
        auto& values = losses.*loss.array; // empty: of a layer's output without the model
        values = spread_sets(values, distinct.index, values.size() / std::max<std::size_t>(sets, 1));
    });
    return losses;
}

} // namespace lava
