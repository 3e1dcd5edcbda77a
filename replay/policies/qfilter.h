#pragma once

#include "replay/policies/numbers_file.h"
#include "replay/policies/uniform.h"
#include "replay/scores/scoring.h"

#include <ATen/ATen.h>

namespace lava {

/// Q-Filters (Godey et al. 2025, arXiv:2503.02812; kvpress's QFilterPress): minus the projection of each key on its
/// head's filter, a direction learned for the model.
class QFilter : public UniformPolicy
{
public:
    explicit QFilter(const PolicyParams& params)
        : filters_(params.text("file"))
    { }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto& shape = layer.shape();
        const auto& filters = filters_.of_shape({shape.num_layers, shape.num_kv_heads, shape.head_dim});
        const auto of_layer = filters[layer.layer()].to(at::kFloat);
        return {-at::matmul(layer.k(), of_layer.unsqueeze(2)).squeeze(2)};
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {file_parameter("file", "filters [num_layers, num_kv_heads, head_dim], .npy or .json")};
    }

private:
    NumbersFile filters_;
};

} // namespace lava
