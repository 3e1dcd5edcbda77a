#include "model/decoder.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>

namespace lava {
namespace {

using nlohmann::json;
using Numbers = std::vector<double>;
using Indices = std::vector<std::int64_t>;

const std::filesystem::path smollm2 = LAVA_SMOLLM2_DIR;

/// Root mean square of the sampled differences over that of transformers' whole tensor. float32 in another order of
/// sums stays near 1e-6; a wrong epsilon, angle or head is above 1e-4.
const double tolerance = 1e-5;

double relative_error(const Numbers& found, const json& reference)
{
    const auto expected = reference["values"].get<Numbers>();
    EXPECT_EQ(found.size(), expected.size());
    double squares = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
        squares += (found[i] - expected[i]) * (found[i] - expected[i]);
    return std::sqrt(squares / static_cast<double>(expected.size())) / reference["root_mean_square"].get<double>();
}

Numbers to_numbers(const at::Tensor& values)
{
    const auto wide = values.to(at::kDouble).contiguous();
    return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}

at::Tensor indices(const json& values)
{
    return at::tensor(values.get<Indices>(), at::kLong);
}

/// The committed prompt of 3,800 tokens, run once for all tests.
class SmolLM2AgainstTransformers : public testing::Test
{
protected:
    struct Run
    {
        json reference;
        KvCache cache;
        at::Tensor logits; // [positions, vocab_size]
    };

    static void SetUpTestSuite()
    {
        if (!std::filesystem::exists(smollm2 / "config.json") || smollm2.empty())
            return;
        run = std::make_unique<Run>();
        std::ifstream in(LAVA_SOURCE_DIR "/tests/data/smollm2_reference.json");
        run->reference = json::parse(in);
        const Decoder decoder(Checkpoint(smollm2), {});
        const auto ids = run->reference["token_ids"].get<Indices>();
        std::vector<at::Tensor> rows;
        std::size_t done = 0;
        for (const std::size_t position : run->reference["logits"]["positions"]) {
            const auto chunk = std::span(ids).subspan(done, position + 1 - done);
            rows.push_back(decoder.forward(chunk, run->cache, nullptr, false));
            done = position + 1;
        }
        run->logits = at::cat(rows);
    }
    static void TearDownTestSuite() { run.reset(); }

    void SetUp() override
    {
        if (!run)
            GTEST_SKIP() << "no converted SmolLM2 at '" << smollm2.string() << "' (LAVA_SMOLLM2_DIR)";
    }

    void expect_cache(const std::vector<at::Tensor>& layers, const char* which) const
    {
        const auto& cache = run->reference["cache"];
        ASSERT_EQ(layers.size(), cache[which].size());
        for (std::size_t layer = 0; layer < layers.size(); ++layer) {
            const auto sample
                = layers[layer].index_select(1, indices(cache["positions"])).index_select(2, indices(cache["columns"]));
            EXPECT_LT(relative_error(to_numbers(sample), cache[which][layer]), tolerance)
                << which << " of layer " << layer;
        }
    }

    static inline std::unique_ptr<Run> run;
};

TEST_F(SmolLM2AgainstTransformers, LogitsAgree)
{
    const auto& logits = run->reference["logits"];
    const auto sample = run->logits.index_select(1, indices(logits["columns"]));
    EXPECT_LT(relative_error(to_numbers(sample), logits), tolerance);
    EXPECT_EQ(run->logits.argmax(1).equal(indices(logits["argmax"])), true);
}

TEST_F(SmolLM2AgainstTransformers, KeysAgreeInEveryLayer)
{
    expect_cache(run->cache.k, "k");
}

TEST_F(SmolLM2AgainstTransformers, ValuesAgreeInEveryLayer)
{
    expect_cache(run->cache.v, "v");
}

} // namespace
} // namespace lava
