#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lava {

/// What "cpu", "cuda" (the first GPU), "cuda:1" or several of them, separated by commas, name; a backend that the
/// program itself has registered with LibTorch (PrivateUse1) goes by its name. Throws UsageError for one that is
/// unknown or not there, and for a GPU named twice.
std::vector<at::Device> parse_devices(const std::string& names);

/// The device of each layer: contiguous ranges of layers, one for each device in the order given, none longer by more
/// than one layer than another. Throws UsageError where there are more devices than layers.
std::vector<at::Device> devices_of_layers(const std::vector<at::Device>& devices, std::int64_t num_layers);

} // namespace lava
