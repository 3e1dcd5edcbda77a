#include "replay/scores/window_means.h"

#include <ATen/ATen.h>

namespace lava {

at::Tensor window_means(const LayerView& layer, std::int64_t window, int threads, const Device& device)
{
    const auto q = layer.q_window.narrow(1, layer.q_window.size(1) - window, window).contiguous(),
               k = layer.k.contiguous();
    auto means = at::empty({q.size(0), layer.seq_len - window});
    device.window_means({q.const_data_ptr<float>(), k.const_data_ptr<float>(), q.size(0), k.size(0), window,
                            layer.seq_len, layer.shape.head_dim, layer.sliding_window},
        threads, means.data_ptr<float>());
    return means;
}

} // namespace lava
