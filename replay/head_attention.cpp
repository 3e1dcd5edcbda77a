#include "replay/head_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace lava {

namespace {

double logit_scale(const HeadAttention& head)
{
    return 1.0 / std::sqrt(static_cast<double>(head.head_dim));
}

void add(WeightSums& to, const WeightSums& from)
{
    std::transform(to.mass.begin(), to.mass.end(), from.mass.begin(), to.mass.begin(), std::plus<>());
    std::transform(to.value.begin(), to.value.end(), from.value.begin(), to.value.begin(), std::plus<>());
}

WeightSums no_entries(const HeadAttention& head)
{
    return {std::vector<double>(static_cast<std::size_t>(head.columns), 0),
        std::vector<double>(static_cast<std::size_t>(head.columns * head.head_dim), 0)};
}

// Sums over listed rows: weights and values gathered side by side, one GEMM. Buffers are reused from call to call.
class SegmentSums
{
public:
    SegmentSums(const HeadAttention& head, std::int64_t longest)
        : head_(head)
        , weights_(at::empty({longest, head.columns}))
        , values_(at::empty({longest, head.head_dim}))
        , product_(at::empty({head.columns, head.head_dim}))
    { }

    WeightSums operator()(std::span<const std::uint32_t> rows)
    {
        auto sums = no_entries(head_);
        const auto count = static_cast<std::int64_t>(rows.size());
        if (count > 0) {
            gather(rows, sums.mass);
            at::mm_out(product_, weights_.narrow(0, 0, count).t(), values_.narrow(0, 0, count));
            const auto* product = product_.const_data_ptr<float>();
            std::copy(product, product + product_.numel(), sums.value.begin());
        }
        return sums;
    }

private:
    void gather(std::span<const std::uint32_t> rows, std::vector<double>& mass)
    {
        const auto columns = static_cast<std::size_t>(head_.columns);
        const auto head_dim = static_cast<std::size_t>(head_.head_dim);
        const auto* weights = head_.weights.const_data_ptr<float>();
        const auto* values = head_.values.const_data_ptr<float>();
        auto* to_weights = weights_.data_ptr<float>();
        auto* to_values = values_.data_ptr<float>();
        for (const auto row : rows) {
            const auto* weight = weights + row * columns;
            for (std::size_t column = 0; column < columns; ++column) {
                mass[column] += static_cast<double>(weight[column]);
            }
            std::memcpy(to_weights, weight, columns * sizeof(float));
            std::memcpy(to_values, values + row * head_dim, head_dim * sizeof(float));
            to_weights += columns;
            to_values += head_dim;
        }
    }

    const HeadAttention& head_;
    at::Tensor weights_, values_, product_;
};

std::vector<std::uint32_t> decode_rows(const HeadAttention& head)
{
    std::vector<std::uint32_t> rows;
    for (auto row = head.prompt; row < head.prompt + head.steps; ++row) {
        rows.push_back(static_cast<std::uint32_t>(row));
    }
    return rows;
}

// Output over the kept entries alone, in double with their own maximum: for a column whose attention lies almost
// wholly on what is evicted, so that the kept weights vanish beside the column's maximum.
std::vector<double> kept_output(const HeadAttention& head, std::span<const std::uint32_t> kept, std::int64_t column)
{
    auto rows = decode_rows(head);
    rows.resize(static_cast<std::size_t>(column % head.steps + 1)); // decode entries that the step sees
    rows.insert(rows.end(), kept.begin(), kept.end());
    const auto dim = static_cast<std::size_t>(head.head_dim);
    const auto* query = head.queries.const_data_ptr<float>() + column * head.head_dim;
    std::vector<double> logits;
    double largest = -std::numeric_limits<double>::infinity();
    for (const auto row : rows) {
        const auto* key = head.keys.const_data_ptr<float>() + row * dim;
        double dot = 0;
        for (std::size_t i = 0; i < dim; ++i) {
            dot += static_cast<double>(query[i]) * static_cast<double>(key[i]);
        }
        logits.push_back(dot * logit_scale(head));
        largest = std::max(largest, logits.back());
    }
    std::vector<double> output(dim, 0);
    double mass = 0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const auto weight = std::exp(logits[r] - largest);
        const auto* value = head.values.const_data_ptr<float>() + rows[r] * dim;
        mass += weight;
        for (std::size_t i = 0; i < dim; ++i) {
            output[i] += weight * static_cast<double>(value[i]);
        }
    }
    for (auto& x : output) {
        x /= mass;
    }
    return output;
}

} // namespace

HeadAttention attend(const LayerView& layer, std::int64_t kv_head)
{
    const auto group = layer.shape.group_size();
    const auto steps = layer.eval_len;
    HeadAttention head;
    head.prompt = layer.seq_len;
    head.steps = steps;
    head.columns = group * steps;
    head.head_dim = layer.shape.head_dim;
    head.values = at::cat({layer.v[kv_head], layer.v_eval[kv_head]});
    head.keys = at::cat({layer.k[kv_head], layer.k_eval[kv_head]});
    head.queries = layer.q_eval.narrow(0, kv_head * group, group).reshape({head.columns, head.head_dim}).contiguous();
    // Logits and exponentials in double: an error here would be in every loss.
    auto logits = at::mm(head.keys.to(at::kDouble), head.queries.to(at::kDouble).t()).mul_(logit_scale(head));
    const auto decode = logits.narrow(0, layer.seq_len, steps).view({steps, group, steps}); // [entry, head, step]
    for (std::int64_t step = 0; step + 1 < steps; ++step) {
        decode.select(2, step).narrow(0, step + 1, steps - step - 1).fill_(-std::numeric_limits<double>::infinity());
    }
    head.weights = logits.sub_(logits.amax(0, true)).exp_().to(at::kFloat);
    return head;
}

at::Tensor full_output(const HeadAttention& head)
{
    const auto mass = head.weights.sum(at::IntArrayRef{0}, false, at::kDouble).unsqueeze(1);
    return at::mm(head.weights.t(), head.values).div(mass).to(at::kFloat).contiguous();
}

std::vector<Cut> cut_ranking(
    const HeadAttention& head, std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts)
{
    std::vector<std::size_t> ends(counts.begin(), counts.end());
    ends.push_back(ranking.size());
    auto longest = static_cast<std::size_t>(head.steps);
    for (std::size_t i = 0; i < ends.size(); ++i) {
        longest = std::max(longest, ends[i] - (i == 0 ? 0 : ends[i - 1]));
    }
    SegmentSums segment_sums(head, static_cast<std::int64_t>(longest));

    auto kept = segment_sums(decode_rows(head));
    std::vector<Cut> cuts;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const auto segment = segment_sums(ranking.subspan(begin, ends[i] - begin));
        add(kept, segment);
        if (i > 0) {
            cuts.back().evicted = segment; // until the sums behind it are known
        }
        cuts.push_back({kept, {}});
        begin = ends[i];
    }
    cuts.back().evicted = segment_sums(ranking.subspan(begin));
    for (auto i = cuts.size() - 1; i-- > 0;) {
        add(cuts[i].evicted, cuts[i + 1].evicted);
    }
    return cuts;
}

double output_difference(const HeadAttention& head, const Cut& cut, std::span<const std::uint32_t> kept,
    std::int64_t column, double* difference)
{
    const auto c = static_cast<std::size_t>(column);
    const auto dim = static_cast<std::size_t>(head.head_dim);
    const auto evicted_mass = cut.evicted.mass[c];
    const auto kept_mass = cut.kept.mass[c];
    const auto mass = evicted_mass + kept_mass;
    const auto* evicted_value = cut.evicted.value.data() + c * dim;
    const auto* kept_value = cut.kept.value.data() + c * dim;
    constexpr double vanishing = 1e-25; // beside the column's maximum of 1, where fp32 still has full precision
    if (kept_mass < vanishing) {
        const auto output = kept_output(head, kept, column);
        for (std::size_t i = 0; i < dim; ++i) {
            difference[i] = (evicted_value[i] - evicted_mass * output[i]) / mass;
        }
        return evicted_mass / mass;
    }
    const auto ratio = evicted_mass / kept_mass;
    for (std::size_t i = 0; i < dim; ++i) {
        difference[i] = (evicted_value[i] - ratio * kept_value[i]) / mass;
    }
    return evicted_mass / mass;
}

} // namespace lava
