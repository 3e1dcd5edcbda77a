#include "compute/attention.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

namespace lava {
namespace {

struct Problem
{
    at::Tensor q, k, v; // [heads, n, d], [kv_heads, N, d]
};

Problem random_problem(std::int64_t n, std::int64_t past)
{
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(std::uint64_t{7});
    const auto draw = [&](std::int64_t heads, std::int64_t rows) {
        return at::randn({heads, rows, 8}, generator, at::kFloat);
    };
    return {draw(6, n) * 3, draw(2, past + n), draw(2, past + n)};
}

/// Attention as its definition says, n x N in float64: [heads, n, N]. Where `window` is not 0, query p sees key i only
/// if p - window < i.
at::Tensor naive_probabilities(const Problem& problem, std::int64_t window = 0)
{
    const auto n = problem.q.size(1), total = problem.k.size(1);
    const auto group = problem.q.size(0) / problem.k.size(0);
    const auto k = problem.k.to(at::kDouble).repeat_interleave(group, 0);
    const auto scores = at::matmul(problem.q.to(at::kDouble), k.transpose(1, 2)) / std::sqrt(8.0);
    const auto all = at::ones({n, total}, at::kBool);
    auto hidden = all.triu(total - n + 1);
    if (window > 0)
        hidden = hidden.logical_or(all.tril(total - n - window));
    return at::softmax(scores.masked_fill(hidden, -INFINITY), -1);
}

at::Tensor naive_z(const Problem& problem, const at::Tensor& probabilities)
{
    const auto group = problem.q.size(0) / problem.k.size(0);
    const auto z = at::matmul(probabilities, problem.v.to(at::kDouble).repeat_interleave(group, 0));
    return z.transpose(0, 1).reshape({problem.q.size(1), -1});
}

double largest_difference(const at::Tensor& found, const at::Tensor& expected)
{
    return (found.to(at::kDouble) - expected).abs().max().item<double>();
}

class CausalAttention : public testing::TestWithParam<std::pair<std::int64_t, std::int64_t>>
{ };

TEST_P(CausalAttention, EqualsTheNaiveNByNInDouble)
{
    const auto [n, past] = GetParam();
    const auto problem = random_problem(n, past);
    const auto probabilities = naive_probabilities(problem);
    const auto result = causal_attention(problem.q, problem.k, problem.v, true);

    // float32 rounding of probabilities up to 1, and of sums of up to n of them
    EXPECT_LT(largest_difference(result.z, naive_z(problem, probabilities)), 5e-6);
    const auto sums = probabilities.sum(1);
    EXPECT_LT(((result.column_sums - sums).abs() / sums).max().item<double>(), 1e-5);

    const auto own = at::ones({n, past + n}, at::kBool).triu(past).tril(past);
    const auto off_diagonal = probabilities.masked_fill(own, 0).sum(1);
    EXPECT_LT(
        ((result.column_sums_off_diagonal - off_diagonal).abs() / (off_diagonal + 1e-30)).max().item<double>(), 1e-5);
    EXPECT_EQ(result.column_sums_off_diagonal.select(1, past + n - 1).abs().max().item<double>(), 0)
        << "only its own query sees the last key";
}

// one row; less than a tile; a tile and a rest, with a past; more tiles than a wave holds
INSTANTIATE_TEST_SUITE_P(Sizes, CausalAttention,
    testing::Values(std::pair{1, 0}, std::pair{1, 70}, std::pair{50, 0}, std::pair{65, 30}, std::pair{1100, 3}));

class SlidingWindow : public testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t>>
{ };

TEST_P(SlidingWindow, EqualsTheNaiveNByNInDouble)
{
    const auto [n, past, window] = GetParam();
    const auto problem = random_problem(n, past);
    const auto probabilities = naive_probabilities(problem, window);
    const auto result = causal_attention(problem.q, problem.k, problem.v, true, window);
    EXPECT_LT(largest_difference(result.z, naive_z(problem, probabilities)), 5e-6);
    EXPECT_LT(largest_difference(result.column_sums, probabilities.sum(1)), 1e-5 * static_cast<double>(window));
    const auto own = at::ones({n, past + n}, at::kBool).triu(past).tril(past);
    EXPECT_LT(largest_difference(result.column_sums_off_diagonal, probabilities.masked_fill(own, 0).sum(1)),
        1e-5 * static_cast<double>(window));
}

// n, past, window: one query; itself alone; windows less than, as long as and longer than a tile, that begin inside
// one, at its edge, in the past; more than there is
INSTANTIATE_TEST_SUITE_P(Sizes, SlidingWindow,
    testing::Values(std::tuple{1, 90, 20}, std::tuple{130, 0, 1}, std::tuple{200, 0, 10}, std::tuple{200, 5, 64},
        std::tuple{200, 7, 100}, std::tuple{65, 30, 31}, std::tuple{300, 3, 129}, std::tuple{70, 3, 1000}));

TEST(CausalAttentionThreads, DoNotChangeABit)
{
    const auto problem = random_problem(300, 5);
    const int before = at::get_num_threads();
    at::set_num_threads(1);
    const auto alone = causal_attention(problem.q, problem.k, problem.v, true);
    at::set_num_threads(3);
    const auto shared = causal_attention(problem.q, problem.k, problem.v, true);
    EXPECT_EQ(at::get_num_threads(), 3) << "the caller's number of threads is left as it was";
    at::set_num_threads(before);

    EXPECT_TRUE(at::equal(alone.z, shared.z));
    EXPECT_TRUE(at::equal(alone.column_sums, shared.column_sums));
    EXPECT_TRUE(at::equal(alone.column_sums_off_diagonal, shared.column_sums_off_diagonal));
}

TEST(CausalAttentionSums, AreNotComputedUnasked)
{
    const auto problem = random_problem(10, 0);
    EXPECT_FALSE(causal_attention(problem.q, problem.k, problem.v, false).column_sums.defined());
}

} // namespace
} // namespace lava
