#include "compute/cpu/head_attention.h"

#include "compute/cpu/arithmetic.h"
#include "compute/norms.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lava {

namespace {

double logit_scale(const HeadAttention& head)
{
    return 1.0 / std::sqrt(static_cast<double>(head.head_dim));
}

at::Tensor rows_at(const float* data, std::int64_t rows, std::int64_t columns)
{
    return at::from_blob(const_cast<float*>(data), {rows, columns}, at::kFloat); // which is only read
}

// [rows, head_dim] -> [rows, dim]: the tensor itself where it is as wide.
at::Tensor padded_rows(const at::Tensor& rows, std::int64_t dim)
{
    if (rows.size(1) == dim) {
        return rows;
    }
    auto wide = at::zeros({rows.size(0), dim});
    wide.narrow(1, 0, rows.size(1)).copy_(rows);
    return wide;
}

// [head_dim, column_stride] in double, scaled.
at::Tensor scaled_queries(const HeadAttention& head)
{
    auto queries = at::zeros({head.head_dim, head.column_stride}, at::kDouble);
    queries.narrow(1, 0, head.columns).copy_(head.queries.to(at::kDouble).t().mul(logit_scale(head)));
    return queries;
}

// Entries from `begin` to `end` that a step does not see get -inf in its columns.
void hide_unseen_keys(const HeadAttention& head, std::int64_t begin, std::int64_t end, double* logits)
{
    for (auto entry = begin; entry < end; ++entry) {
        for (std::int64_t column = 0; column < head.columns; ++column) {
            const auto step = column % head.steps;
            if (entry > head.prompt + step || entry < head.first_seen_by(step)) {
                logits[entry * head.column_stride + column] = -std::numeric_limits<double>::infinity();
            }
        }
    }
}

// [N + T, column_stride] in double; -inf where the entry lies in the step's future or has left its window.
std::vector<double> all_logits(const HeadAttention& head)
{
    const auto queries = scaled_queries(head);
    const auto stride = head.column_stride;
    std::vector<double> logits(static_cast<std::size_t>((head.prompt + head.steps) * stride));
    kernels().logits(head.keys.const_data_ptr<float>(), head.prompt, head.head_dim, queries.const_data_ptr<double>(),
        stride, logits.data());
    auto* decode = logits.data() + head.prompt * stride;
    kernels().logits(head.decode_keys.const_data_ptr<float>(), head.steps, head.head_dim,
        queries.const_data_ptr<double>(), stride, decode);
    hide_unseen_keys(head, 0, std::min(head.prompt, head.first_seen_by(head.steps - 1)), logits.data());
    hide_unseen_keys(head, head.prompt, head.prompt + head.steps, logits.data());
    return logits;
}

WeightedEntries prompt_entries(const HeadAttention& head)
{
    return {head.weights.const_data_ptr<float>(), head.column_stride, head.columns, head.values.const_data_ptr<float>(),
        head.dim};
}

WeightedEntries decode_entries(const HeadAttention& head)
{
    return {head.weights.const_data_ptr<float>() + head.prompt * head.column_stride, head.column_stride, head.columns,
        head.decode_values.const_data_ptr<float>(), head.dim};
}

std::vector<std::uint32_t> first_numbers(std::int64_t count)
{
    std::vector<std::uint32_t> numbers(static_cast<std::size_t>(count));
    std::iota(numbers.begin(), numbers.end(), 0U);
    return numbers;
}

// [dim]: output of one column over what its step sees of these prompt entries and of the decode entries, from the keys
// on.
std::vector<double> output_over(const HeadAttention& head, std::span<const std::uint32_t> kept, std::int64_t column)
{
    struct Entry
    {
        const float* value;
        double logit;
    };
    std::vector<Entry> entries;
    const auto* query = head.queries.const_data_ptr<float>() + column * head.head_dim;
    const auto step = column % head.steps, first = head.first_seen_by(step);
    const auto add = [&](const at::Tensor& keys, const at::Tensor& values, std::int64_t row) {
        const auto* key = keys.const_data_ptr<float>() + row * head.head_dim;
        const auto dot = std::inner_product(key, key + head.head_dim, query, 0.0, std::plus<>(),
            [](float a, float b) { return static_cast<double>(a) * static_cast<double>(b); });
        entries.push_back({values.const_data_ptr<float>() + row * head.dim, dot * logit_scale(head)});
    };
    for (auto entry = std::max<std::int64_t>(0, first - head.prompt); entry <= step; ++entry) {
        add(head.decode_keys, head.decode_values, entry);
    }
    for (const auto row : kept) {
        if (row >= first) {
            add(head.keys, head.values, row);
        }
    }
    const auto by_logit = [](const Entry& a, const Entry& b) { return a.logit < b.logit; };
    const auto largest = std::max_element(entries.begin(), entries.end(), by_logit)->logit;
    std::vector<double> output(static_cast<std::size_t>(head.dim));
    double mass = 0;
    for (const auto& entry : entries) {
        const auto weight = std::exp(entry.logit - largest);
        mass += weight;
        std::transform(output.begin(), output.end(), entry.value, output.begin(),
            [&](double sum, float value) { return sum + weight * static_cast<double>(value); });
    }
    std::transform(output.begin(), output.end(), output.begin(), [&](double x) { return x / mass; });
    return output;
}

} // namespace

HeadAttention attend_head(const LossInputs& inputs, std::int64_t kv_head)
{
    const auto& sizes = inputs.sizes;
    const auto of_prompt = kv_head * sizes.seq_len * sizes.head_dim, of_steps = kv_head * sizes.steps * sizes.head_dim;
    HeadAttention head;
    head.prompt = sizes.seq_len;
    head.sliding_window = sizes.sliding_window;
    head.steps = sizes.steps;
    head.columns = sizes.columns();
    head.column_stride = padded(head.columns);
    head.head_dim = sizes.head_dim;
    head.dim = padded(head.head_dim);
    head.keys = rows_at(inputs.k + of_prompt, sizes.seq_len, sizes.head_dim);
    head.decode_keys = rows_at(inputs.k_eval + of_steps, sizes.steps, sizes.head_dim);
    head.values = padded_rows(rows_at(inputs.v + of_prompt, sizes.seq_len, sizes.head_dim), head.dim);
    head.decode_values = padded_rows(rows_at(inputs.v_eval + of_steps, sizes.steps, sizes.head_dim), head.dim);
    head.queries = rows_at(inputs.q_eval + kv_head * head.columns * sizes.head_dim, head.columns, sizes.head_dim);

    const auto logits = all_logits(head);
    const auto entries = head.prompt + head.steps;
    std::vector<double> maxima(static_cast<std::size_t>(head.column_stride), -std::numeric_limits<double>::infinity());
    kernels().raise_maxima(logits.data(), entries, head.column_stride, maxima.data());
    head.weights = at::empty({entries, head.column_stride});
    kernels().exponentials(logits.data(), entries, head.column_stride, maxima.data(), head.weights.data_ptr<float>());
    return head;
}

std::vector<double> full_output(const HeadAttention& head)
{
    std::vector<float> sums(static_cast<std::size_t>(head.columns * head.dim));
    std::vector<double> mass(static_cast<std::size_t>(head.columns));
    const auto rows = first_numbers(std::max(head.prompt, head.steps));
    kernels().add_entries(decode_entries(head), rows.data(), head.steps, sums.data(), mass.data());
    kernels().add_entries(prompt_entries(head), rows.data(), head.prompt, sums.data(), mass.data());
    std::vector<double> outputs(sums.begin(), sums.end());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        outputs[i] /= mass[i / static_cast<std::size_t>(head.dim)];
    }
    return outputs;
}

EvictionSweep::EvictionSweep(
    const HeadAttention& head, std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts)
    : head_(head)
    , ranking_(ranking)
    , counts_(counts)
    , cut_(counts.size())
{
    const auto columns = static_cast<std::size_t>(head.columns);
    for (auto* values : {&evicted_mass_, &inverse_kept_, &mass_ratio_, &evicted_share_}) {
        values->resize(columns);
    }
    evicted_.resize(columns * static_cast<std::size_t>(head.dim));
    sum_segments();
}

void EvictionSweep::sum_segments()
{
    const auto columns = static_cast<std::size_t>(head_.columns);
    const auto segments = counts_.size() + 1;
    const auto size = evicted_.size();
    sums_ = std::make_unique_for_overwrite<float[]>(segments * size);
    masses_.resize(segments * columns);
    kept_masses_.resize(segments * columns);
    full_.resize(size);
    const auto decode_rows = first_numbers(head_.steps);
    const auto entries = prompt_entries(head_);
    std::size_t begin = 0;
    for (std::size_t segment = 0; segment < segments; ++segment) {
        const auto end = segment < counts_.size() ? static_cast<std::size_t>(counts_[segment]) : ranking_.size();
        auto* sums = sums_.get() + segment * size;
        auto* masses = masses_.data() + segment * columns;
        std::fill_n(sums, size, 0.0F);
        if (segment == 0) {
            kernels().add_entries(decode_entries(head_), decode_rows.data(), head_.steps, sums, masses);
        }
        kernels().add_entries(entries, ranking_.data() + begin, static_cast<std::int64_t>(end - begin), sums, masses);
        kernels().accumulate(sums, static_cast<std::int64_t>(size), full_.data());
        for (std::size_t column = 0; column < columns; ++column) {
            const auto before = segment == 0 ? 0 : kept_masses_[(segment - 1) * columns + column];
            kept_masses_[segment * columns + column] = before + masses[column];
        }
        begin = end;
    }
    for (std::size_t column = 0; column < columns; ++column) {
        const auto dim = static_cast<std::size_t>(head_.dim);
        const auto scale = 1 / kept_masses_[counts_.size() * columns + column];
        std::for_each_n(full_.begin() + static_cast<std::ptrdiff_t>(column * dim), dim, [&](double& x) { x *= scale; });
    }
}

void EvictionSweep::advance()
{
    --cut_;
    const auto* evicted = masses_.data() + (cut_ + 1) * evicted_mass_.size();
    std::transform(evicted_mass_.begin(), evicted_mass_.end(), evicted, evicted_mass_.begin(), std::plus<>());
    is_summed_ = false;
    set_masses();
}

double EvictionSweep::kept_mass(std::size_t column) const
{
    return kept_masses_[cut_ * evicted_mass_.size() + column];
}

void EvictionSweep::set_masses()
{
    // full_ * mass_ratio stands for two sums, of evicted and of kept; in double that is exact enough until kept is this
    // small a part of both
    constexpr double small_share = 1e-8;
    careful_.clear();
    for (std::size_t column = 0; column < evicted_mass_.size(); ++column) {
        const auto kept = kept_mass(column);
        const auto evicted = evicted_mass_[column];
        evicted_share_[column] = evicted / (kept + evicted);
        const bool is_small = kept < small_share * evicted;
        inverse_kept_[column] = is_small ? 0 : 1 / kept;
        mass_ratio_[column] = is_small ? 0 : evicted / kept;
        if (is_small) {
            careful_.push_back(static_cast<std::int64_t>(column));
        }
    }
}

// With e and k the sums over evicted and kept, m and s their masses: o - ô = (e - (m / s) k) / (m + s), which is
// e / s - (m / s) o. The second form sees each sum once, from the same segments.
void EvictionSweep::differences(float* const* rows, double* l1, double* l2)
{
    const auto* segment = is_summed_ ? nullptr : sums_.get() + (cut_ + 1) * evicted_.size();
    const DifferenceStep step{head_.columns, head_.dim, full_.data(), inverse_kept_.data(), mass_ratio_.data()};
    kernels().differences(step, segment, evicted_.data(), rows, l1, l2);
    is_summed_ = true;
    for (const auto column : careful_) {
        careful_difference(column, rows[column], l1[column], l2[column]);
    }
}

// Output over the kept entries alone. Where their weights vanish in fp32 beside the column's maximum, anew, in double
// with a maximum of their own.
std::vector<double> EvictionSweep::kept_output(std::int64_t column) const
{
    constexpr double vanishing = 1e-25; // above it fp32 still has full precision
    const auto dim = static_cast<std::size_t>(head_.dim);
    const auto mass = kept_mass(static_cast<std::size_t>(column));
    std::vector<double> output(dim);
    if (mass >= vanishing) {
        for (std::size_t segment = 0; segment <= cut_; ++segment) {
            const auto* sums = sums_.get() + segment * evicted_.size() + static_cast<std::size_t>(column) * dim;
            std::transform(output.begin(), output.end(), sums, output.begin(), std::plus<>());
        }
        std::transform(output.begin(), output.end(), output.begin(), [&](double x) { return x / mass; });
        return output;
    }
    return output_over(head_, ranking_.first(static_cast<std::size_t>(counts_[cut_])), column);
}

void EvictionSweep::careful_difference(std::int64_t column, float* row, double& l1, double& l2) const
{
    const auto output = kept_output(column);
    const auto c = static_cast<std::size_t>(column);
    const auto evicted = evicted_mass_[c];
    const auto mass = evicted + kept_mass(c);
    std::vector<double> difference(output.size());
    for (std::size_t i = 0; i < output.size(); ++i) {
        difference[i] = (evicted_[c * output.size() + i] - evicted * output[i]) / mass;
        row[i] = static_cast<float>(difference[i]);
    }
    const auto norms = norms_of(difference.data(), std::ssize(difference));
    l1 = norms.l1;
    l2 = norms.l2;
}

} // namespace lava
