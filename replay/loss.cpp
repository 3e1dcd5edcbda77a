#include "replay/loss.h"

#include "replay/bounds.h"
#include "replay/head_attention.h"

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
struct DistinctSets
{
    std::vector<std::size_t> index; // [G] into sets
    std::vector<Counts> sets; // [num_kv_heads] each
};

DistinctSets distinct_sets(std::span<const std::int64_t> counts, std::int64_t num_kv_heads)
{
    DistinctSets distinct;
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

// The cut that a head's count in each set falls on, and the cuts themselves: ascending, each once.
struct HeadCuts
{
    Counts counts;
    std::vector<std::size_t> index; // [sets] into counts
};

HeadCuts head_cuts(const std::vector<Counts>& sets, std::size_t head)
{
    HeadCuts cuts;
    for (const auto& set : sets) {
        cuts.counts.push_back(set[head]);
    }
    std::sort(cuts.counts.begin(), cuts.counts.end());
    cuts.counts.erase(std::unique(cuts.counts.begin(), cuts.counts.end()), cuts.counts.end());
    for (const auto& set : sets) {
        const auto found = std::lower_bound(cuts.counts.begin(), cuts.counts.end(), set[head]);
        cuts.index.push_back(static_cast<std::size_t>(found - cuts.counts.begin()));
    }
    return cuts;
}

} // namespace

struct LayerAttention::State
{
    const LayerView& layer;
    std::int64_t heads;
    std::int64_t steps;
    std::vector<HeadAttention> attention; // [num_kv_heads]
    BoundTerms bounds;
    LayerNorms norms;

    explicit State(const LayerView& view)
        : layer(view)
        , heads(view.shape.num_heads)
        , steps(view.eval_len)
        , bounds(bound_terms(view))
    {
        for (std::int64_t kv_head = 0; kv_head < view.shape.num_kv_heads; ++kv_head) {
            attention.push_back(attend(view, kv_head));
        }
        norms = uncompressed_norms();
    }

    std::size_t head_step(std::int64_t kv_head, std::int64_t column) const // into [num_heads, T]
    {
        return static_cast<std::size_t>(kv_head * layer.shape.group_size() * steps + column);
    }

    // Where column `column` of a KV head lies in one set's rows [T, num_heads * head_dim].
    std::int64_t row_offset(std::int64_t kv_head, std::int64_t column) const
    {
        const auto head = kv_head * layer.shape.group_size() + column / steps;
        return (column % steps * heads + head) * layer.shape.head_dim;
    }

    LayerNorms uncompressed_norms() const
    {
        const auto head_dim = layer.shape.head_dim;
        LayerNorms result;
        result.head_output_l1.resize(static_cast<std::size_t>(heads * steps));
        result.head_output_l2.resize(static_cast<std::size_t>(heads * steps));
        auto outputs = at::empty({steps, heads * head_dim});
        for (std::int64_t kv_head = 0; kv_head < layer.shape.num_kv_heads; ++kv_head) {
            const auto& head = attention[static_cast<std::size_t>(kv_head)];
            const auto z = full_output(head); // [columns, head_dim]
            for (std::int64_t column = 0; column < head.columns; ++column) {
                const auto* row = z.const_data_ptr<float>() + column * head_dim;
                std::copy(row, row + head_dim, outputs.data_ptr<float>() + row_offset(kv_head, column));
                const auto norm = norms_of(row, head_dim);
                result.head_output_l1[head_step(kv_head, column)] = static_cast<float>(norm.l1);
                result.head_output_l2[head_step(kv_head, column)] = static_cast<float>(norm.l2);
            }
        }
        auto y = at::mm(outputs, layer.w_o.t());
        if (layer.b_o.defined()) {
            y.add_(layer.b_o);
        }
        for (std::int64_t step = 0; step < steps; ++step) {
            const auto norm = norms_of(y.const_data_ptr<float>() + step * y.size(1), y.size(1));
            result.attn_out_l1.push_back(norm.l1);
            result.attn_out_l2.push_back(norm.l2);
        }
        return result;
    }

    // Losses 1 and 2 of one KV head for every set, and o - ô into `differences` [sets, T, num_heads * head_dim].
    void head_losses(std::int64_t kv_head, const HeadCuts& cuts, std::span<const std::uint32_t> ranking,
        LayerLosses& losses, std::vector<double>& evicted_mass, float* differences) const
    {
        const auto& head = attention[static_cast<std::size_t>(kv_head)];
        const auto head_dim = layer.shape.head_dim;
        const auto sums = cut_ranking(head, ranking, cuts.counts);
        const auto per_set = static_cast<std::size_t>(heads * steps);
        std::vector<double> difference(static_cast<std::size_t>(head_dim));
        for (std::size_t set = 0; set < cuts.index.size(); ++set) {
            const auto& cut = sums[cuts.index[set]];
            const auto kept = ranking.first(static_cast<std::size_t>(cuts.counts[cuts.index[set]]));
            for (std::int64_t column = 0; column < head.columns; ++column) {
                const auto mass = output_difference(head, cut, kept, column, difference.data());
                const auto norm = norms_of(difference.data(), head_dim);
                const auto at = set * per_set + head_step(kv_head, column);
                evicted_mass[at] = mass;
                losses.head_l1[at] = static_cast<float>(2 * mass);
                losses.head_output_l1[at] = static_cast<float>(norm.l1);
                losses.head_output_l2[at] = static_cast<float>(norm.l2);
                auto* to
                    = differences + static_cast<std::int64_t>(per_set * set) * head_dim + row_offset(kv_head, column);
                std::transform(
                    difference.begin(), difference.end(), to, [](double x) { return static_cast<float>(x); });
            }
        }
    }

    void layer_losses(std::size_t sets, const at::Tensor& differences, LayerLosses& losses) const
    {
        const auto y = at::mm(differences, layer.w_o.t()); // [sets * T, hidden_size]
        for (std::int64_t row = 0; row < static_cast<std::int64_t>(sets) * steps; ++row) {
            const auto norm = norms_of(y.const_data_ptr<float>() + row * y.size(1), y.size(1));
            losses.attn_out_l1.push_back(norm.l1);
            losses.attn_out_l2.push_back(norm.l2);
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

LayerAttention::LayerAttention(const LayerView& layer)
    : state_(std::make_unique<State>(layer))
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
    const auto distinct = distinct_sets(counts, shape.num_kv_heads);
    const auto sets = distinct.sets.size();
    const auto per_head = static_cast<std::size_t>(state_->heads * state_->steps);
    const auto per_layer = static_cast<std::size_t>(state_->steps);

    LayerLosses losses;
    losses.head_l1.resize(sets * per_head);
    losses.head_output_l1.resize(sets * per_head);
    losses.head_output_l2.resize(sets * per_head);
    std::vector<double> evicted_mass(sets * per_head);
    auto differences = at::empty({static_cast<std::int64_t>(sets) * state_->steps, shape.num_heads * shape.head_dim});
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
        const auto index = static_cast<std::size_t>(head);
        state_->head_losses(head, head_cuts(distinct.sets, index), ranking.subspan(index * n, n), losses, evicted_mass,
            differences.data_ptr<float>());
    }
    state_->layer_losses(sets, differences, losses);
    for (std::size_t set = 0; set < sets; ++set) {
        state_->add_bounds(evicted_mass.data() + set * per_head, losses);
    }
    for (auto* values : {&losses.head_l1, &losses.head_output_l1, &losses.head_output_l2}) {
        *values = spread_sets(*values, distinct.index, per_head);
    }
    for (auto* values :
        {&losses.attn_out_l1, &losses.attn_out_l2, &losses.bound_lava, &losses.bound_adakv, &losses.bound_projected}) {
        *values = spread_sets(*values, distinct.index, per_layer);
    }
    return losses;
}

} // namespace lava
