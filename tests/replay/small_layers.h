#pragma once

#include "worked_layer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace lava::testing {

inline at::Tensor floats(const std::vector<float>& values)
{
    return at::tensor(values);
}

// One layer of one query head per KV head. k, v: [heads, tokens, head_dim]; every query is 1.
inline LayerView layer_of(const at::Tensor& k, const at::Tensor& v, std::int64_t window)
{
    LayerView layer;
    layer.k = k;
    layer.v = v;
    layer.seq_len = k.size(1);
    layer.window = window;
    layer.shape = {.num_layers = 1,
        .num_heads = k.size(0),
        .num_kv_heads = k.size(0),
        .head_dim = k.size(2),
        .hidden_size = k.size(2)};
    layer.q_window = at::ones({k.size(0), window, k.size(2)});
    return layer;
}

inline BudgetRequest request_of(const LayerView& layer, std::int64_t budget)
{
    return {layer.shape, layer.seq_len, 0, budget};
}

inline std::vector<float> scores_at(const std::string& policy, const LayerView& layer, std::int64_t budget)
{
    const auto made = parse_policy(policy).make();
    const auto found = made->score(LayerInputs(layer, layer.window));
    return to_floats(made->at_budget(found, request_of(layer, budget)).entries);
}

inline auto near(const std::vector<float>& expected)
{
    return ::testing::Pointwise(::testing::FloatNear(1e-5F), expected);
}

} // namespace lava::testing
