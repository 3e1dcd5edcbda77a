#include "replay/scores/projected_norms.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace lava {

at::Tensor projected_value_norms(const LayerInputs& layer)
{
    constexpr std::int64_t block = 512; // entries whose products, as wide as the residual stream, are held at a time
    const auto& shape = layer.shape();
    std::vector<at::Tensor> heads;
    for (std::int64_t head = 0; head < shape.num_heads; ++head) {
        const auto v = layer.v()[head / shape.group_size()];
        const auto w = layer.w_o().narrow(1, head * shape.head_dim, shape.head_dim).t(); // [head_dim, hidden_size]
        auto norms = at::empty({layer.seq_len()});
        for (std::int64_t begin = 0; begin < layer.seq_len(); begin += block) {
            const auto count = std::min(block, layer.seq_len() - begin);
            norms.narrow(0, begin, count).copy_(at::mm(v.narrow(0, begin, count), w).abs().sum(1));
        }
        heads.push_back(norms);
    }
    return reduce_group(at::stack(heads), shape, GroupReduction::mean);
}

} // namespace lava
