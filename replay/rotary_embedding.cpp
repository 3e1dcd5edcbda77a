#include "replay/rotary_embedding.h"

#include <ATen/ATen.h>

#include <cmath>

namespace lava {

at::Tensor mean_rotation(const RotaryEmbedding& rope, std::int64_t head_dim, std::int64_t first, std::int64_t count)
{
    const auto half = static_cast<std::int64_t>(rope.inv_freq.size());
    auto rotation = at::eye(head_dim);
    auto matrix = rotation.accessor<float, 2>();
    for (std::int64_t i = 0; i < half; ++i) {
        const auto frequency = static_cast<float>(rope.inv_freq[static_cast<std::size_t>(i)]);
        double cosine = 0;
        double sine = 0;
        for (std::int64_t position = first; position < first + count; ++position) {
            const double angle = static_cast<float>(position) * frequency;
            cosine += std::cos(angle);
            sine += std::sin(angle);
        }
        const auto scale = rope.attention_scaling / static_cast<double>(count);
        matrix[i][i] = matrix[i + half][i + half] = static_cast<float>(cosine * scale);
        matrix[i + half][i] = static_cast<float>(sine * scale);
        matrix[i][i + half] = static_cast<float>(-sine * scale);
    }
    return rotation;
}

} // namespace lava
