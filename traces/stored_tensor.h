#pragma once

// Tensors in HDF5: float32 and float16 as themselves, bfloat16 as uint16 with the attribute dtype = "bfloat16".

#include "base/hdf5/h5.h"
#include "traces/trace_info.h"

#include <ATen/core/Tensor.h>

namespace lava {

/// How the dataset is stored, once its type and shape were checked. Throws Error naming it, expected and found.
StoreType check_tensor(const h5::Group& group, std::string_view name, std::span<const std::int64_t> extents);

/// Reads a dataset as fp32 on the CPU. Throws Error where a value is NaN or infinite.
at::Tensor read_tensor(const h5::Group& group, std::string_view name, std::span<const std::int64_t> extents);

/// Stores a tensor of any floating type and device. Throws Error where a value is not finite or becomes infinite in
/// `type`.
void write_tensor(const h5::Group& group, std::string_view name, const at::Tensor& tensor, StoreType type, int deflate);

} // namespace lava
