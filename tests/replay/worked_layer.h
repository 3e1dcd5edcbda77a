#pragma once

#include "replay/policies/registry.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

namespace lava::testing {

/// Attention that can be written down: with head_dim 1 and queries of 1, entry i's logit is its key.
inline LayerView layer_with_keys(const std::vector<std::vector<float>>& keys,
    const std::vector<std::vector<float>>& values, std::int64_t num_heads, std::int64_t window)
{
    LayerView layer;
    const auto kv_heads = static_cast<std::int64_t>(keys.size());
    layer.seq_len = static_cast<std::int64_t>(keys.front().size());
    layer.window = window;
    layer.shape = {.num_layers = 1, .num_heads = num_heads, .num_kv_heads = kv_heads, .head_dim = 1, .hidden_size = 1};
    layer.k = at::empty({kv_heads, layer.seq_len, 1});
    layer.v = at::empty({kv_heads, layer.seq_len, 1});
    for (std::int64_t head = 0; head < kv_heads; ++head) {
        layer.k[head].copy_(at::tensor(keys[static_cast<std::size_t>(head)]).unsqueeze(1));
        layer.v[head].copy_(at::tensor(values[static_cast<std::size_t>(head)]).unsqueeze(1));
    }
    layer.q_window = at::ones({num_heads, window, 1});
    return layer;
}

inline std::vector<float> to_floats(const at::Tensor& tensor)
{
    const auto values = tensor.contiguous();
    return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel()};
}

inline std::vector<float> scores(const std::string& policy, const LayerView& layer)
{
    return to_floats(parse_policy(policy).make()->score(LayerInputs(layer, layer.window)).entries);
}

inline std::vector<float> rounded(std::vector<float> values)
{
    for (auto& value : values) {
        value = std::round(value * 1e4F) / 1e4F;
    }
    return values;
}

inline float ln(float x)
{
    return std::log(x);
}

} // namespace lava::testing
