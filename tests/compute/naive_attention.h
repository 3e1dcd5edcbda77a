#pragma once

#include "compute/attention.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

namespace lava::testing {

struct AttentionCase
{
    std::int64_t n, past, group = 1, head_dim = 64, window = 0;

    std::string name() const
    {
        return "n" + std::to_string(n) + "past" + std::to_string(past) + "group" + std::to_string(group) + "dim"
            + std::to_string(head_dim) + (window > 0 ? "window" + std::to_string(window) : "");
    }
};

inline std::ostream& operator<<(std::ostream& out, const AttentionCase& sizes)
{
    return out << sizes.name();
}

struct AttentionProblem
{
    at::Tensor q, k, v; // [heads, n, head_dim], [kv_heads, N, head_dim]
    std::int64_t window;
};

/// Two KV heads.
inline AttentionProblem random_attention(const AttentionCase& sizes)
{
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(std::uint64_t{7});
    const auto draw = [&](std::int64_t heads, std::int64_t rows) {
        return at::randn({heads, rows, sizes.head_dim}, generator, at::kFloat);
    };
    const auto total = sizes.past + sizes.n;
    return {draw(2 * sizes.group, sizes.n) * 2, draw(2, total), draw(2, total), sizes.window};
}

inline AttentionProblem converted(const AttentionProblem& problem, at::ScalarType type)
{
    return {problem.q.to(type), problem.k.to(type), problem.v.to(type), problem.window};
}

/// Ragged sizes: one token; less than a tile and more; a past; tiles of rows and keys that end inside; groups and heads
/// of the families; windows that begin inside a tile and that are longer than all there is; few rows over many keys,
/// which are split among blocks. Of windows of 2, the 65th row alone of its tile sees the last key of the first tile.
inline std::vector<AttentionCase> attention_cases()
{
    return {{1, 0}, {1, 70, 3}, {50, 0, 4, 80}, {65, 30, 1, 128}, {97, 3, 3, 96}, {130, 0, 2, 64}, {5, 331, 8, 64},
        {33, 20, 4, 8}, {40, 11, 1, 20}, {20, 0, 2, 256}, {1, 90, 2, 64, 20}, {70, 0, 1, 64, 1}, {70, 0, 1, 64, 2},
        {100, 7, 3, 64, 40}, {70, 3, 2, 64, 1000}, {64, 700, 2, 16}};
}

/// Probabilities as the definition says, n x N in float64: [heads, n, N].
inline at::Tensor naive_probabilities(const AttentionProblem& problem)
{
    const auto n = problem.q.size(1), total = problem.k.size(1);
    const auto k = problem.k.to(at::kDouble).repeat_interleave(problem.q.size(0) / problem.k.size(0), 0);
    const auto scores
        = at::matmul(problem.q.to(at::kDouble), k.transpose(1, 2)) / std::sqrt(static_cast<double>(problem.q.size(2)));
    const auto all = at::ones({n, total}, at::kBool);
    auto hidden = all.triu(total - n + 1);
    if (problem.window > 0) {
        hidden = hidden.logical_or(all.tril(total - n - problem.window));
    }
    return at::softmax(scores.masked_fill(hidden, -INFINITY), -1);
}

/// ||found - expected|| / ||expected||; 0 where both are 0.
inline double relative_difference(const at::Tensor& found, const at::Tensor& expected)
{
    const auto difference = (found.to(at::kDouble) - expected.to(at::kDouble)).norm().item<double>();
    const auto size = expected.to(at::kDouble).norm().item<double>();
    return difference == 0 ? 0 : difference / size;
}

/// z within `tolerance`, column sums, which are fp32 whatever the type, within 1e-5.
inline void expect_near_naive(const AttentionResult& found, const AttentionProblem& problem, double tolerance)
{
    const auto probabilities = naive_probabilities(problem);
    const auto v = problem.v.to(at::kDouble).repeat_interleave(problem.q.size(0) / problem.v.size(0), 0);
    const auto z = at::matmul(probabilities, v).transpose(0, 1).reshape({problem.q.size(1), -1});
    EXPECT_LT(relative_difference(found.z, z), tolerance);
    EXPECT_LT(relative_difference(found.column_sums, probabilities.sum(1)), 1e-5);
    const auto past = problem.k.size(1) - problem.q.size(1);
    const auto own = at::ones({problem.q.size(1), problem.k.size(1)}, at::kBool).triu(past).tril(past);
    EXPECT_LT(relative_difference(found.column_sums_off_diagonal, probabilities.masked_fill(own, 0).sum(1)), 1e-5);
    EXPECT_EQ(found.column_sums_off_diagonal.select(1, problem.k.size(1) - 1).abs().max().item<double>(), 0)
        << "only its own query sees the last key";
}

} // namespace lava::testing
