#include "replay/scores/entropy_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

namespace lava {

namespace {

using Tokens = std::vector<std::int64_t>;

constexpr double epsilon = 1e-8; // kvpress's

// Indices by value, largest first, equal values in the order in which they stand.
Tokens descending(std::span<const double> values)
{
    Tokens order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
    });
    return order;
}

double lower_median(std::vector<double> values)
{
    const auto middle = values.begin() + (static_cast<std::ptrdiff_t>(values.size()) - 1) / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

double mean(std::span<const double> values)
{
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// 0 to 1; scores are raised so that none is negative. One token has none.
double normalized_entropy(std::span<const double> scores)
{
    if (scores.size() == 1) {
        return 0;
    }
    const auto shift = std::min(0.0, *std::min_element(scores.begin(), scores.end()));
    const auto sum
        = std::accumulate(scores.begin(), scores.end(), 0.0) - shift * static_cast<double>(scores.size()) + epsilon;
    double entropy = 0;
    for (const auto score : scores) {
        const auto p = (score - shift) / sum;
        entropy -= p * std::log(p + epsilon);
    }
    return std::clamp(entropy / std::log(static_cast<double>(scores.size())), 0.0, 1.0);
}

// Scores summed over heads.
std::vector<double> token_scores(const at::Tensor& scores)
{
    const at::Tensor sums = scores.sum(at::IntArrayRef{0}, false, at::kDouble).contiguous();
    return {sums.const_data_ptr<double>(), sums.const_data_ptr<double>() + sums.numel()};
}

std::vector<std::span<const double>> chunks_of(std::span<const double> tokens, std::int64_t chunk)
{
    std::vector<std::span<const double>> chunks;
    const auto size = static_cast<std::size_t>(chunk);
    for (std::size_t begin = 0; begin < tokens.size(); begin += size) {
        chunks.push_back(tokens.subspan(begin, std::min(size, tokens.size() - begin)));
    }
    return chunks;
}

// Every token once, in the order in which they are taken.
Tokens taken_order(std::span<const double> tokens, std::int64_t chunk, std::int64_t spiky)
{
    const auto chunks = chunks_of(tokens, chunk);
    std::vector<double> means;
    std::vector<double> entropies;
    for (const auto& scores : chunks) {
        means.push_back(mean(scores));
        entropies.push_back(normalized_entropy(scores));
    }
    const auto median_mean = lower_median(means);
    const auto median_entropy = lower_median(entropies);
    Tokens order;
    std::vector<std::uint8_t> taken(tokens.size(), 0);
    for (const auto index : descending(means)) {
        const auto c = static_cast<std::size_t>(index);
        auto inside = descending(chunks[c]);
        if (means[c] >= median_mean && entropies[c] < median_entropy) {
            inside.resize(std::min(inside.size(), static_cast<std::size_t>(spiky)));
        }
        for (const auto token : inside) {
            order.push_back(index * chunk + token);
            taken[static_cast<std::size_t>(order.back())] = 1;
        }
    }
    for (const auto token : descending(tokens)) {
        if (taken[static_cast<std::size_t>(token)] == 0) {
            order.push_back(token);
        }
    }
    return order;
}

} // namespace

at::Tensor entropy_gated_order(const at::Tensor& scores, std::int64_t chunk, std::int64_t spiky)
{
    const auto tokens = token_scores(scores);
    const auto order = taken_order(tokens, chunk, spiky);
    auto places = at::empty({scores.size(1)});
    auto* values = places.data_ptr<float>();
    for (std::size_t place = 0; place < order.size(); ++place) {
        values[order[place]] = static_cast<float>(order.size() - place);
    }
    return places.expand_as(scores);
}

} // namespace lava
