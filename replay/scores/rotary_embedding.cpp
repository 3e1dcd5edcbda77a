#include "replay/scores/rotary_embedding.h"

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

at::Tensor before_rotation(const RotaryEmbedding& rope, const at::Tensor& k, std::int64_t first)
{
    const auto pairs = static_cast<std::int64_t>(rope.inv_freq.size());
    const auto positions = at::arange(first, first + k.size(1), at::kFloat).unsqueeze(1);
    const auto angles = (positions * at::tensor(rope.inv_freq).to(at::kFloat)).to(at::kDouble); // products in fp32
    const auto cosine = (angles.cos() / rope.attention_scaling).to(at::kFloat); // [tokens, pairs]
    const auto sine = (angles.sin() / rope.attention_scaling).to(at::kFloat);
    const auto low = k.narrow(2, 0, pairs);
    const auto high = k.narrow(2, pairs, pairs);
    const auto rest = k.narrow(2, 2 * pairs, k.size(2) - 2 * pairs);
    return at::cat({low * cosine + high * sine, high * cosine - low * sine, rest}, 2);
}

} // namespace lava
