#include "capture/repeat_pass.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

namespace lava {
namespace {

using Ids = std::vector<std::int64_t>;

TEST(RepeatChunks, FollowThePrefixAndRecallTheChunkBefore)
{
    const RepeatTexts texts{.prefix_length = 2, .ask_first = {100}, .ask_next = {200, 201}, .suffix = {300}};
    Ids prompt;
    for (std::int64_t i = 0; i < 27; ++i) {
        prompt.push_back(i);
    }
    const auto chunks = repeat_chunks(prompt, texts, 10);
    ASSERT_EQ(chunks.size(), 3u);
    EXPECT_EQ(chunks[0].begin, 2);
    EXPECT_EQ(chunks[0].ids, (Ids{100, 300, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
    EXPECT_EQ(chunks[1].ids, (Ids{200, 201, 4, 5, 6, 7, 8, 9, 10, 11, 300, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}));
    EXPECT_EQ(chunks[2].begin, 22);
    EXPECT_EQ(chunks[2].end, 27);
    EXPECT_EQ(chunks[2].ids, (Ids{200, 201, 14, 15, 16, 17, 18, 19, 20, 21, 300, 22, 23, 24, 25, 26}));
    EXPECT_TRUE(repeat_chunks({0, 1}, texts, 10).empty()) << "nothing but the template's prefix";
}

/// Keeps queries, keys and what the attention reads of one forward call.
struct RepeatObserver : Observer
{
    void on(std::string_view name, std::int64_t, const at::Tensor& value) override
    {
        if (wants(name)) {
            (name == "q" ? q : name == "k" ? k : input).push_back(value.clone());
        }
    }
    bool wants(std::string_view name) const override { return name == "q" || name == "k" || name == "attn_in"; }
    std::vector<at::Tensor> q, k, input;
};

/// KVzip's scores of a chunk by definition, over the decoder's own forward call after the whole prompt.
RepeatMaxima by_definition(const Decoder& decoder, const KvCache& prompt, const RepeatChunk& chunk, std::int64_t layer)
{
    KvCache cache = prompt;
    RepeatObserver seen;
    decoder.forward(chunk.ids, cache, &seen, false);
    const auto index = static_cast<std::size_t>(layer);
    const auto &q = seen.q[index], &own = seen.k[index], &input = seen.input[index];
    const auto &k = prompt.k[index], &v = prompt.v[index];
    const ModelShape& shape = decoder.config().shape;
    RepeatMaxima maxima{at::zeros({k.size(0), k.size(1)}), at::zeros({k.size(0), k.size(1)})};
    for (std::int64_t head = 0; head < shape.num_heads; ++head) {
        const auto kv = head / shape.group_size();
        const auto w_o = decoder.w_o(layer).narrow(1, head * shape.head_dim, shape.head_dim);
        for (std::int64_t row = 0; row < q.size(1); ++row) {
            const auto sinks = std::min<std::int64_t>(4, chunk.begin);
            const auto keys = at::cat({k[kv].narrow(0, 0, sinks), k[kv].narrow(0, chunk.begin, chunk.end - chunk.begin),
                own[kv].narrow(0, 0, row + 1)});
            const auto weights = at::softmax(at::mv(keys, q[head][row]) / std::sqrt(double(shape.head_dim)), 0);
            for (std::int64_t i = chunk.begin; i < chunk.end; ++i) {
                const auto weight = weights[sinks + i - chunk.begin].item<double>();
                const auto scale = at::mv(w_o, v[kv][i]).norm().item<double>() / input[row].norm().item<double>();
                maxima.plain[kv][i] = std::max(maxima.plain[kv][i].item<double>(), weight);
                maxima.plus[kv][i] = std::max(maxima.plus[kv][i].item<double>(), weight * scale);
            }
        }
    }
    return maxima;
}

TEST(RepeatPass, GivesKvzipsScoresAsDefined)
{
    const c10::InferenceMode no_gradients;
    const Checkpoint checkpoint(std::filesystem::path(LAVA_SOURCE_DIR) / "models/stories260K");
    const Decoder decoder(checkpoint, {});
    const Ids prompt{1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267};
    const RepeatTexts texts{.prefix_length = 2, .ask_first = {7, 8}, .ask_next = {9}, .suffix = {10, 11}};
    const auto chunks = repeat_chunks(prompt, texts, 11); // two chunks, the first with two sinks
    ASSERT_EQ(chunks.size(), 2u);
    KvCache cache;
    decoder.forward(prompt, cache, nullptr, false);
    RepeatPass pass(decoder, chunks, std::ssize(prompt));
    for (std::int64_t layer = 0; layer < decoder.config().shape.num_layers; ++layer) {
        const auto index = static_cast<std::size_t>(layer);
        const RepeatMaxima found = pass.layer(layer, cache.k[index], cache.v[index]);
        const RepeatMaxima a = by_definition(decoder, cache, chunks[0], layer);
        const RepeatMaxima b = by_definition(decoder, cache, chunks[1], layer);
        EXPECT_TRUE(at::allclose(found.plain, a.plain + b.plain, 1e-4, 1e-5)) << layer;
        EXPECT_TRUE(at::allclose(found.plus, a.plus + b.plus, 1e-4, 1e-5)) << layer;
        EXPECT_TRUE(found.plain.narrow(1, 0, 2).eq(0).all().item<bool>()) << "the template's prefix";
    }
}

} // namespace
} // namespace lava
