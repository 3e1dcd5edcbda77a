#include "compute/cpu/arithmetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace lava {
namespace {

// Every instruction set that this processor runs does the same arithmetic.
class KernelsOfAnyInstructionSet : public ::testing::TestWithParam<const Arithmetic*>
{
protected:
    static const Kernels& kernels() { return GetParam()->kernels; }
};

template <typename T> std::vector<T> random_values(std::int64_t count, unsigned seed)
{
    std::mt19937 random(seed);
    std::normal_distribution<T> normal;
    std::vector<T> values(static_cast<std::size_t>(count));
    std::generate(values.begin(), values.end(), [&] { return normal(random); });
    return values;
}

template <typename T> void expect_near(const std::vector<T>& found, const std::vector<double>& expected, double bound)
{
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_NEAR(static_cast<double>(found[i]), expected[i], bound) << i;
    }
}

TEST_P(KernelsOfAnyInstructionSet, AddWeightsTimesValuesOverListedEntries)
{
    constexpr std::int64_t entries = 300;
    for (const std::int64_t columns : {1, 6, 48, 64}) {
        for (const std::int64_t dim : {16, 64, 80, 128}) {
            const auto stride = padded(columns);
            const auto weights = random_values<float>(entries * stride, 1);
            const auto values = random_values<float>(entries * dim, 2);
            std::vector<std::uint32_t> rows;
            for (std::uint32_t i = 0; i < 150; ++i) { // two whole blocks and a part of one
                rows.push_back((i * 7 + 5) % entries);
            }
            std::vector<float> sums(static_cast<std::size_t>(columns * dim), 1.0F);
            std::vector<double> mass(static_cast<std::size_t>(columns), 2.0);
            std::vector<double> expected_sums(sums.size(), 1.0);
            std::vector<double> expected_mass(mass.size(), 2.0);
            for (const auto row : rows) {
                for (std::int64_t c = 0; c < columns; ++c) {
                    const double weight = weights[static_cast<std::size_t>(row * stride + c)];
                    expected_mass[static_cast<std::size_t>(c)] += weight;
                    for (std::int64_t i = 0; i < dim; ++i) {
                        expected_sums[static_cast<std::size_t>(c * dim + i)]
                            += weight * static_cast<double>(values[static_cast<std::size_t>(row * dim + i)]);
                    }
                }
            }
            kernels().add_entries({weights.data(), stride, columns, values.data(), dim}, rows.data(),
                static_cast<std::int64_t>(rows.size()), sums.data(), mass.data());
            expect_near(sums, expected_sums, 1e-4); // 150 terms of size 1 in fp32
            expect_near(mass, expected_mass, 1e-4);
        }
    }
}

TEST_P(KernelsOfAnyInstructionSet, LogitsAreProductsInDouble)
{
    constexpr std::int64_t count = 7;
    constexpr std::int64_t columns = 48;
    for (const std::int64_t dim : {8, 64}) {
        const auto keys = random_values<float>(count * dim, 3);
        const auto queries = random_values<double>(dim * columns, 4);
        std::vector<double> expected(count * columns);
        for (std::int64_t key = 0; key < count; ++key) {
            for (std::int64_t c = 0; c < columns; ++c) {
                for (std::int64_t i = 0; i < dim; ++i) {
                    expected[static_cast<std::size_t>(key * columns + c)]
                        += static_cast<double>(keys[static_cast<std::size_t>(key * dim + i)])
                        * queries[static_cast<std::size_t>(i * columns + c)];
                }
            }
        }
        std::vector<double> found(expected.size());
        kernels().logits(keys.data(), count, dim, queries.data(), columns, found.data());
        expect_near(found, expected, 1e-12);
    }
}

TEST_P(KernelsOfAnyInstructionSet, ExponentialsAreRelativeToTheColumnsMaximum)
{
    constexpr std::int64_t count = 500;
    constexpr std::int64_t columns = 16;
    auto logits = random_values<double>(count * columns, 5);
    for (std::size_t i = 0; i < logits.size(); ++i) {
        logits[i] *= 1 + static_cast<double>(i % 40); // down to -100 and below
    }
    logits[17] = -INFINITY;
    std::vector<double> maxima(columns, -INFINITY);
    kernels().raise_maxima(logits.data(), count, columns, maxima.data());
    std::vector<float> weights(logits.size());
    kernels().exponentials(logits.data(), count, columns, maxima.data(), weights.data());
    for (std::int64_t c = 0; c < columns; ++c) {
        double largest = -INFINITY;
        for (std::int64_t row = 0; row < count; ++row) {
            largest = std::max(largest, logits[static_cast<std::size_t>(row * columns + c)]);
        }
        EXPECT_EQ(maxima[static_cast<std::size_t>(c)], largest);
        for (std::int64_t row = 0; row < count; ++row) {
            const auto i = static_cast<std::size_t>(row * columns + c);
            const auto expected = std::exp(logits[i] - largest);
            EXPECT_NEAR(static_cast<double>(weights[i]), expected, 1e-7 * expected + 1e-45) << logits[i] - largest;
        }
    }
    EXPECT_EQ(weights[17], 0.0F);
}

TEST_P(KernelsOfAnyInstructionSet, DifferencesFollowTheEvictedSums)
{
    constexpr std::int64_t columns = 5;
    constexpr std::int64_t dim = 80;
    const auto segment = random_values<float>(columns * dim, 6);
    const auto full = random_values<double>(columns * dim, 7);
    const auto before = random_values<double>(columns * dim, 8);
    const std::vector<double> inverse_kept{1, 2, 3, 4, 0};
    const std::vector<double> ratio{0.5, 0.25, 2, 1, 0};
    for (const bool adds : {true, false}) {
        auto evicted = before;
        std::vector<float> rows(columns * dim);
        std::vector<float*> starts;
        for (std::int64_t c = columns; c-- > 0;) { // anywhere
            starts.push_back(rows.data() + c * dim);
        }
        std::vector<double> l1(columns);
        std::vector<double> l2(columns);
        kernels().differences({columns, dim, full.data(), inverse_kept.data(), ratio.data()},
            adds ? segment.data() : nullptr, evicted.data(), starts.data(), l1.data(), l2.data());
        for (std::size_t c = 0; c < columns; ++c) {
            double sum = 0;
            double squares = 0;
            for (std::size_t i = 0; i < dim; ++i) {
                const auto at = c * dim + i;
                const auto expected_evicted = before[at] + (adds ? static_cast<double>(segment[at]) : 0);
                const auto expected = expected_evicted * inverse_kept[c] - full[at] * ratio[c];
                EXPECT_NEAR(evicted[at], expected_evicted, 1e-14);
                EXPECT_NEAR(static_cast<double>(starts[c][i]), expected, 1e-6);
                sum += std::abs(expected);
                squares += expected * expected;
            }
            EXPECT_NEAR(l1[c], sum, 1e-11);
            EXPECT_NEAR(l2[c], std::sqrt(squares), 1e-11);
        }
    }
}

TEST_P(KernelsOfAnyInstructionSet, ProductNormsAreThoseOfTheProduct)
{
    const auto width = kernels().panel_columns;
    for (const std::int64_t columns : {width, 2 * width - 3}) {
        for (const std::int64_t count : {1, 8, 250}) {
            constexpr std::int64_t inner = 32;
            constexpr std::int64_t stride = inner + 5;
            const auto rows = random_values<float>(count * stride, 9);
            const auto matrix = random_values<float>(inner * columns, 10); // [inner, columns]
            std::vector<float> panels(static_cast<std::size_t>((columns + width - 1) / width * width * inner));
            std::vector<double> expected_l1(static_cast<std::size_t>(count));
            std::vector<double> expected_l2(static_cast<std::size_t>(count));
            for (std::int64_t c = 0; c < columns; ++c) {
                for (std::int64_t k = 0; k < inner; ++k) {
                    panels[static_cast<std::size_t>(c / width * width * inner + k * width + c % width)]
                        = matrix[static_cast<std::size_t>(k * columns + c)];
                }
                for (std::int64_t row = 0; row < count; ++row) {
                    double product = 0;
                    for (std::int64_t k = 0; k < inner; ++k) {
                        product += static_cast<double>(rows[static_cast<std::size_t>(row * stride + k)])
                            * static_cast<double>(matrix[static_cast<std::size_t>(k * columns + c)]);
                    }
                    expected_l1[static_cast<std::size_t>(row)] += std::abs(product);
                    expected_l2[static_cast<std::size_t>(row)] += product * product;
                }
            }
            std::transform(
                expected_l2.begin(), expected_l2.end(), expected_l2.begin(), [](double x) { return std::sqrt(x); });
            std::vector<double> l1(expected_l1.size());
            std::vector<double> l2(expected_l1.size());
            kernels().product_norms(rows.data(), stride, count, {panels.data(), inner, columns}, l1.data(), l2.data());
            expect_near(l1, expected_l1, 1e-3); // of about 500
            expect_near(l2, expected_l2, 1e-4);
        }
    }
}

TEST_P(KernelsOfAnyInstructionSet, AccumulateAddsFloatsToDoubles)
{
    const auto values = random_values<float>(37, 11);
    std::vector<double> sums(37, 0.5);
    kernels().accumulate(values.data(), 37, sums.data());
    for (std::size_t i = 0; i < sums.size(); ++i) {
        EXPECT_EQ(sums[i], 0.5 + static_cast<double>(values[i]));
    }
}

TEST_P(KernelsOfAnyInstructionSet, ScoresAreProductsWithPanelsOfQueries)
{
    constexpr std::int64_t count = 31;
    constexpr std::int64_t dim = 20;
    constexpr std::int64_t columns = 2 * score_panel;
    const auto keys = random_values<float>(count * dim, 12);
    const auto panels = random_values<float>(dim * columns, 13);
    std::vector<double> expected(count * columns);
    for (std::int64_t key = 0; key < count; ++key) {
        for (std::int64_t c = 0; c < columns; ++c) {
            for (std::int64_t i = 0; i < dim; ++i) {
                const auto at = (c / score_panel * dim + i) * score_panel + c % score_panel;
                expected[static_cast<std::size_t>(key * columns + c)]
                    += static_cast<double>(keys[static_cast<std::size_t>(key * dim + i)])
                    * static_cast<double>(panels[static_cast<std::size_t>(at)]);
            }
        }
    }
    std::vector<float> found(expected.size());
    kernels().scores(keys.data(), count, dim, panels.data(), columns, found.data());
    expect_near(found, expected, 1e-5);
}

TEST_P(KernelsOfAnyInstructionSet, ABlocksExponentialsReachDownToTheEndOfFp32)
{
    constexpr std::int64_t count = 120;
    constexpr std::int64_t columns = 16;
    std::vector<float> scores;
    for (std::int64_t i = 0; i < count * columns; ++i) {
        scores.push_back(5 - static_cast<float>(i / columns) * 1.01F - static_cast<float>(i % columns) * 0.07F);
    }
    scores[columns] = std::numeric_limits<float>::lowest() / 2; // hidden
    const auto before = scores;
    std::vector<float> maxima(columns);
    std::vector<double> sums(columns);
    kernels().exponentiate_block(scores.data(), count, columns, maxima.data(), sums.data());
    for (std::size_t c = 0; c < columns; ++c) {
        EXPECT_EQ(maxima[c], before[c]);
        double sum = 0;
        for (std::size_t row = 0; row < count; ++row) {
            const auto i = row * columns + c;
            const auto expected = std::exp(static_cast<double>(before[i] - before[c])); // the difference in fp32
            EXPECT_NEAR(static_cast<double>(scores[i]), expected, 5e-7 * expected + 1.5e-45) << before[i];
            sum += expected;
        }
        EXPECT_NEAR(sums[c], sum, 1e-6 * sum);
    }
}

TEST_P(KernelsOfAnyInstructionSet, RowsAreSummedWithFactorsAndByMagnitude)
{
    constexpr std::int64_t count = 5;
    constexpr std::int64_t stride = 43;
    const auto rows = random_values<float>(count * stride, 14);
    const auto factors = random_values<float>(32, 15);
    std::vector<double> expected(count);
    std::vector<double> expected_norms(count);
    for (std::int64_t i = 0; i < count * stride; ++i) {
        const auto value = static_cast<double>(rows[static_cast<std::size_t>(i)]);
        if (i % stride < 32) {
            expected[static_cast<std::size_t>(i / stride)]
                += value * static_cast<double>(factors[static_cast<std::size_t>(i % stride)]);
        }
        expected_norms[static_cast<std::size_t>(i / stride)] += std::abs(value);
    }
    std::vector<float> sums(count);
    kernels().row_products(rows.data(), stride, count, factors.data(), 32, sums.data());
    expect_near(sums, expected, 1e-5);
    std::vector<float> norms(count);
    kernels().row_norms(rows.data(), count, stride, norms.data());
    expect_near(norms, expected_norms, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(All, KernelsOfAnyInstructionSet,
    ::testing::ValuesIn(runnable_arithmetic().begin(), runnable_arithmetic().end()),
    [](const auto& tested) { return std::string(tested.param->name); });

} // namespace
} // namespace lava
