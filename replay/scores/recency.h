#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava {

/// [heads, tokens]: the first `sinks` tokens above all others, then the more recent the higher.
at::Tensor sinks_and_recency(std::int64_t heads, std::int64_t tokens, std::int64_t sinks);

} // namespace lava
