#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "traces/layer_datasets.h"
#include "traces/verify.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lava::test {

namespace {

using ::testing::HasSubstr;

constexpr std::int64_t heads = 4, kv_heads = 2, dim = 8, prompt = 60, rows = 9, steps = 3, hidden = 10, pairs = 3;

TraceInfo info_of(std::int64_t window)
{
    TraceInfo info;
    info.generator = "lava-capture 0.1.0";
    info.shape
        = {.num_layers = 1, .num_heads = heads, .num_kv_heads = kv_heads, .head_dim = dim, .hidden_size = hidden};
    info.seq_len = prompt;
    info.window = rows;
    info.eval_len = steps;
    info.layer_windows = {window};
    info.rope_inv_freq = {1, 0.1, 0.01};
    info.rope_attention_scaling = 1.25;
    info.has_observed_attention = info.has_query_statistics = true;
    return info;
}

/// The rotary embedding by its definition, pair by pair; [.., prompt, dim].
at::Tensor turned(const at::Tensor& plain, const TraceInfo& info)
{
    const auto out = plain.clone();
    for (std::int64_t p = 0; p < prompt; ++p) {
        for (std::int64_t i = 0; i < pairs; ++i) {
            const auto angle = static_cast<double>(p) * info.rope_inv_freq[static_cast<std::size_t>(i)];
            const auto a = plain.select(1, p).select(1, i), b = plain.select(1, p).select(1, i + pairs);
            const auto scale = info.rope_attention_scaling;
            out.select(1, p).select(1, i).copy_((a * std::cos(angle) - b * std::sin(angle)) * scale);
            out.select(1, p).select(1, i + pairs).copy_((b * std::cos(angle) + a * std::sin(angle)) * scale);
        }
    }
    return out;
}

/// All that an honest run records.
LayerView honest(const TraceInfo& info)
{
    at::manual_seed(3);
    auto layer = sized_view(info, 0);
    const auto plain = at::randn({heads, prompt, dim}) + 0.5;
    const auto queries = turned(plain, info);
    layer.k = at::randn({kv_heads, prompt, dim});
    layer.v = at::randn({kv_heads, prompt, dim});
    layer.q_window = queries.narrow(1, prompt - rows, rows).contiguous();
    auto scores = at::matmul(queries, layer.k.repeat_interleave(heads / kv_heads, 0).transpose(1, 2)) / std::sqrt(8.0);
    for (std::int64_t p = 0; p < prompt; ++p)
        for (std::int64_t i = 0; i < prompt; ++i)
            if (i > p || i < first_seen(p, layer.sliding_window))
                scores.select(1, p).select(1, i).fill_(-std::numeric_limits<float>::infinity());
    const auto attention = at::softmax(scores, -1);
    layer.observed_attention = attention.sum(1);
    layer.observed_attention_off_diagonal = layer.observed_attention - attention.diagonal(0, 1, 2);
    const auto late = plain.narrow(1, 4, prompt - 4);
    layer.q_pre_rope_mean = late.mean(1);
    const auto centred = late - layer.q_pre_rope_mean.unsqueeze(1);
    layer.q_pre_rope_cov = at::matmul(centred.transpose(1, 2), centred) / (prompt - 4);
    layer.resid_pre = 30 * at::randn({steps, hidden});
    layer.attn_out = at::randn({steps, hidden});
    layer.resid_mid = layer.resid_pre + layer.attn_out;
    return layer;
}

std::string fault(const LayerView& layer, const TraceInfo& info)
{
    return fault_of({}, check_identities(layer, info));
}

TEST(Identities, HoldInEveryHonestLayerOfAnyType)
{
    for (const std::int64_t window : {0, 5, 20}) {
        for (const auto store : {StoreType::f32, StoreType::f16, StoreType::bf16}) {
            const auto info = info_of(window);
            auto layer = honest(info);
            const auto type = store == StoreType::f16 ? at::kHalf
                : store == StoreType::bf16            ? at::kBFloat16
                                                      : at::kFloat;
            for (auto* tensor : {&layer.k, &layer.q_window, &layer.resid_pre, &layer.attn_out, &layer.resid_mid})
                *tensor = tensor->to(type).to(at::kFloat);
            layer.roundoff = roundoff_of(store);
            EXPECT_EQ(fault(layer, info), "") << window << ' ' << to_string(store);
            const auto found = check_identities(layer, info);
            EXPECT_EQ(found.size(), 9U);
            for (const auto& identity : found)
                EXPECT_LE(identity.name.size(), 53U) << "a column of lava-trace verify: " << identity.name;
        }
    }
}

TEST(Identities, NoiseInWhatPoliciesScoreWithIsNamed)
{
    const auto spoilt = [](at::Tensor LayerView::*tensor, const std::function<at::Tensor(const at::Tensor&)>& change) {
        const auto info = info_of(20);
        auto layer = honest(info);
        layer.roundoff = roundoff_of(StoreType::bf16);
        layer.*tensor = change(layer.*tensor);
        return fault(layer, info);
    };
    const auto noise = [](const at::Tensor& tensor) { return at::randn_like(tensor); };
    const auto swapped = [](const at::Tensor& tensor) { return tensor.flip(0); };
    const auto reversed = [](const at::Tensor& tensor) { return tensor.flip(1); };
    const std::string columns
        = "q_window, k and observed_attention: the last columns of the window's attention deviate from "
          "those of the recorded sums by ";
    EXPECT_THAT(spoilt(&LayerView::q_window, noise), HasSubstr(columns));
    EXPECT_THAT(spoilt(&LayerView::q_window, swapped), HasSubstr(columns));
    EXPECT_THAT(spoilt(&LayerView::observed_attention, reversed), HasSubstr(columns));
    EXPECT_THAT(spoilt(&LayerView::observed_attention,
                    [](const at::Tensor& sums) {
                        auto changed = sums.clone();
                        changed.narrow(1, 0, 30).mul_(1.1); // beside the last columns
                        return changed;
                    }),
        HasSubstr("observed_attention: a head's sum deviates from the number of queries by "));
    EXPECT_THAT(spoilt(&LayerView::observed_attention_off_diagonal, reversed), HasSubstr("off_diagonal"));
    EXPECT_THAT(spoilt(&LayerView::q_pre_rope_cov, noise), HasSubstr("q_pre_rope_cov: the two halves"));
    EXPECT_THAT(spoilt(&LayerView::q_pre_rope_cov, [](const at::Tensor& all) { return all * 0.05; }),
        HasSubstr("q_window, q_pre_rope_mean and q_pre_rope_cov: the window's queries scatter beyond the variance of "
                  "all by "));
    EXPECT_THAT(spoilt(&LayerView::q_pre_rope_mean, [](const at::Tensor& all) { return all + 5; }),
        HasSubstr("scatter beyond"));
    EXPECT_THAT(spoilt(&LayerView::resid_pre, noise),
        HasSubstr("resid_pre, attn_out and resid_mid: the sum of the first two deviates from the third by "));
}

TEST(Identities, WhatCannotBeCheckedIsSaid)
{
    auto info = info_of(0);
    const auto joined = [&] {
        std::string text;
        for (const auto& line : not_checkable(info))
            text += line + "\n";
        return text;
    };
    EXPECT_THAT(joined(), ::testing::Not(HasSubstr("resid_pre")));
    info.generator = "lava_trace.py";
    EXPECT_THAT(joined(), HasSubstr("resid_pre, resid_mid: a norm or multiplier"));
    info.generator = "lava-trace synth 0.1.0";
    EXPECT_THAT(joined(), HasSubstr("a synthetic trace makes them up"));
    EXPECT_TRUE(check_identities(honest(info), info).empty());
}

} // namespace

} // namespace lava::test
