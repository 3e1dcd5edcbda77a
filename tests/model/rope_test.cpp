#include "model/rope.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

namespace lava {
namespace {

constexpr double angle_tolerance = 1e-6; // relative; float32 against the formulas in double

const std::int64_t dim = 32;

RopeConfig config_of(RopeType type)
{
    RopeConfig config;
    config.type = type;
    config.theta = 10000;
    config.dim = dim;
    config.factor = 4;
    config.original_context = 256;
    return config;
}

double plain(std::int64_t pair, double theta = 10000)
{
    return std::pow(theta, -2.0 * static_cast<double>(pair) / dim);
}

/// Every frequency is what `expected` says of its pair.
void expect_frequencies(
    const RopeConfig& config, std::int64_t seq_len, const std::function<double(std::int64_t)>& expected)
{
    const auto found = inverse_frequencies(config, seq_len);
    ASSERT_EQ(found.sizes(), (at::IntArrayRef{dim / 2}));
    ASSERT_EQ(found.scalar_type(), at::kFloat);
    for (std::int64_t pair = 0; pair < dim / 2; ++pair)
        EXPECT_NEAR(found[pair].item<double>() / expected(pair), 1, angle_tolerance) << "pair " << pair;
}

/// Rotary embedding of n positions from `first` on, in float32.
Rope angles(std::int64_t first, std::int64_t n, const RopeConfig& config)
{
    return rope(at::arange(first, first + n, at::kLong), first + n, config, at::kFloat);
}

TEST(Rope, StandardFrequenciesAreAGeometricSeries)
{
    expect_frequencies(config_of(RopeType::standard), 1000, [](auto pair) { return plain(pair); });
}

TEST(Rope, LinearDividesEveryFrequency)
{
    expect_frequencies(config_of(RopeType::linear), 10, [](auto pair) { return plain(pair) / 4; });
}

TEST(Rope, DynamicGrowsThetaBeyondTheOriginalContextOnly)
{
    const auto config = config_of(RopeType::dynamic);
    expect_frequencies(config, 256, [](auto pair) { return plain(pair); });
    // theta (factor n / L - (factor - 1))^(d / (d - 2))
    const double theta = 10000 * std::pow(4.0 * 1000 / 256 - 3, 32.0 / 30);
    expect_frequencies(config, 1000, [&](auto pair) { return plain(pair, theta); });
}

TEST(Rope, Llama3StretchesLongWavelengthsOnly)
{
    auto config = config_of(RopeType::llama3);
    config.low_freq_factor = 1;
    config.high_freq_factor = 4;
    int kept = 0, between = 0, stretched = 0;
    expect_frequencies(config, 10, [&](auto pair) {
        const double turns = 256 * plain(pair) / (2 * std::numbers::pi); // in the original context
        if (turns > 4)
            return ++kept, plain(pair);
        if (turns < 1)
            return ++stretched, plain(pair) / 4;
        const double share = (turns - 1) / (4 - 1);
        return ++between, (1 - share) * plain(pair) / 4 + share * plain(pair);
    });
    EXPECT_GT(kept, 0);
    EXPECT_GT(between, 0);
    EXPECT_GT(stretched, 0);
}

TEST(Rope, YarnRampsFromKeptToStretched)
{
    auto config = config_of(RopeType::yarn);
    config.beta_fast = 32;
    config.beta_slow = 1;
    // the pair that turns beta times in the original context: d ln(L / (2 pi beta)) / (2 ln theta)
    const auto pair_turning
        = [](double beta) { return 32 * std::log(256 / (2 * std::numbers::pi * beta)) / (2 * std::log(10000.0)); };
    for (const bool truncate : {true, false}) {
        config.truncate = truncate;
        const double low = std::max(0.0, truncate ? std::floor(pair_turning(32)) : pair_turning(32));
        const double high = truncate ? std::ceil(pair_turning(1)) : pair_turning(1);
        expect_frequencies(config, 10, [&](auto pair) {
            const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
            return plain(pair) / 4 * ramp + plain(pair) * (1 - ramp);
        });
    }
}

TEST(Rope, LongropeSwitchesItsFactorsBeyondTheOriginalContext)
{
    auto config = config_of(RopeType::longrope);
    for (std::int64_t pair = 0; pair < dim / 2; ++pair) {
        config.short_factor.push_back(1 + 0.01 * static_cast<double>(pair));
        config.long_factor.push_back(2 + 0.3 * static_cast<double>(pair));
    }
    const auto divided_by = [](const std::vector<double>& factors) {
        return [&factors](auto pair) { return plain(pair) / factors[static_cast<std::size_t>(pair)]; };
    };
    expect_frequencies(config, 256, divided_by(config.short_factor));
    expect_frequencies(config, 257, divided_by(config.long_factor));
}

TEST(Rope, RotatesEachPairByItsAngleAndScalesIt)
{
    auto config = config_of(RopeType::standard);
    config.attention_factor = 1.25;
    const auto x = at::arange(2 * 3 * dim, at::kFloat).sin().view({2, 3, dim});
    const auto found = apply_rope(x, angles(7, 3, config));
    for (std::int64_t row = 0; row < 3; ++row) {
        for (std::int64_t pair = 0; pair < dim / 2; ++pair) {
            const double angle = static_cast<double>(7 + row) * plain(pair);
            const auto a = x[1][row][pair].item<double>(), b = x[1][row][pair + dim / 2].item<double>();
            EXPECT_NEAR(found[1][row][pair].item<double>(), 1.25 * (a * std::cos(angle) - b * std::sin(angle)), 1e-5);
            EXPECT_NEAR(
                found[1][row][pair + dim / 2].item<double>(), 1.25 * (b * std::cos(angle) + a * std::sin(angle)), 1e-5);
        }
    }
}

TEST(Rope, LeavesTheDimensionsBeyondItsOwn)
{
    auto config = config_of(RopeType::standard);
    config.dim = 24;
    const auto x = at::arange(2 * 3 * dim, at::kFloat).cos().view({2, 3, dim});
    const auto found = apply_rope(x, angles(5, 3, config));
    EXPECT_TRUE(at::equal(found.narrow(2, 24, 8), x.narrow(2, 24, 8)));
    EXPECT_TRUE(at::equal(found.narrow(2, 0, 24), apply_rope(x.narrow(2, 0, 24), angles(5, 3, config))));
}

TEST(Rope, OfScatteredPositionsIsThatOfEachPosition)
{
    const auto config = config_of(RopeType::standard);
    const auto scattered = rope(at::tensor({9, 4}, at::kLong), 10, config, at::kFloat);
    EXPECT_TRUE(at::equal(scattered.cos[0], angles(9, 1, config).cos[0]));
    EXPECT_TRUE(at::equal(scattered.sin[1], angles(4, 1, config).sin[0]));
}

} // namespace
} // namespace lava
