#pragma once

#include "replay/losses/loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

namespace lava::testing {

inline std::vector<std::uint32_t> random_ranking(const LayerView& layer, unsigned seed)
{
    std::mt19937 random(seed);
    std::vector<std::uint32_t> ranking;
    for (std::int64_t head = 0; head < layer.shape.num_kv_heads; ++head) {
        std::vector<std::uint32_t> order(static_cast<std::size_t>(layer.seq_len));
        std::iota(order.begin(), order.end(), 0U);
        std::shuffle(order.begin(), order.end(), random);
        ranking.insert(ranking.end(), order.begin(), order.end());
    }
    return ranking;
}

inline at::Tensor mask_of(const LayerView& layer, const std::vector<std::uint32_t>& ranking, const std::int64_t* counts)
{
    auto kept = at::zeros({layer.shape.num_kv_heads, layer.seq_len}, at::kBool);
    for (std::int64_t head = 0; head < layer.shape.num_kv_heads; ++head) {
        for (std::int64_t i = 0; i < counts[head]; ++i) {
            kept[head][static_cast<std::int64_t>(ranking[static_cast<std::size_t>(head * layer.seq_len + i)])] = true;
        }
    }
    return kept;
}

// A ratio of sums, as relative losses are defined.
template <typename T> double relative_difference(const T* found, const std::vector<T>& expected)
{
    double difference = 0;
    double size = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        difference += std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
        size += std::abs(static_cast<double>(expected[i]));
    }
    return size == 0 ? difference : difference / size;
}

inline void expect_equal(const LayerLosses& found, std::size_t set, const LayerLosses& expected, double tolerance)
{
    const auto head = set * expected.head_l1.size();
    const auto step = set * expected.attn_out_l1.size();
    EXPECT_LE(relative_difference(found.head_l1.data() + head, expected.head_l1), tolerance) << set;
    EXPECT_LE(relative_difference(found.head_output_l1.data() + head, expected.head_output_l1), tolerance) << set;
    EXPECT_LE(relative_difference(found.head_output_l2.data() + head, expected.head_output_l2), tolerance) << set;
    EXPECT_LE(relative_difference(found.attn_out_l1.data() + step, expected.attn_out_l1), tolerance) << set;
    EXPECT_LE(relative_difference(found.attn_out_l2.data() + step, expected.attn_out_l2), tolerance) << set;
    EXPECT_LE(relative_difference(found.bound_lava.data() + step, expected.bound_lava), tolerance) << set;
    EXPECT_LE(relative_difference(found.bound_adakv.data() + step, expected.bound_adakv), tolerance) << set;
    EXPECT_LE(relative_difference(found.bound_projected.data() + step, expected.bound_projected), tolerance) << set;
}

} // namespace lava::testing
