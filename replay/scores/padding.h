#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava {

/// [heads, entries] -> [heads, before + entries + after]: what is added gets the largest score + 1, as kvpress's
/// windows and sinks do: they compete for the budget and tie with each other.
at::Tensor padded_on_top(const at::Tensor& entries, std::int64_t before, std::int64_t after);

} // namespace lava
