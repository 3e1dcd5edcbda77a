#pragma once

#include <ATen/core/Tensor.h>

namespace lava {

/// An uninitialized tensor on the CPU in pages of its own, which leave memory with it. Those of the heap may stay, for
/// blocks that came later. Throws std::bad_alloc.
at::Tensor empty_in_own_pages(at::IntArrayRef sizes, at::ScalarType dtype);

} // namespace lava
