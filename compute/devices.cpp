#include "compute/devices.h"

#include "base/error.h"
#include "base/formatted.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <charconv>

namespace lava {

namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& why)
{
    throw UsageError("--device: " + why + ", found '" + name + "'");
}

/// The number after the colon; 0 where there is none.
int index_of(const std::string& name)
{
    const auto colon = name.find(':');
    if (colon == std::string::npos)
        return 0;
    const char *begin = name.data() + colon + 1, *end = name.data() + name.size();
    int index = -1;
    const auto [stop, error] = std::from_chars(begin, end, index);
    if (error != std::errc() || stop != end || index < 0 || index > 127) // what LibTorch can count to
        refuse(name, "expected cpu, cuda or cuda:N");
    return index;
}

at::Device parse_device(const std::string& name)
{
    if (name == "cpu")
        return at::kCPU;
    const std::string backend = name.substr(0, name.find(':'));
    if (backend != "cuda" && backend != c10::get_privateuse1_backend())
        refuse(name, "expected cpu, cuda or cuda:N");
    const auto type = backend == "cuda" ? at::kCUDA : at::kPrivateUse1;
    const int index = index_of(name);
    const int count = c10::impl::hasDeviceGuardImpl(type) ? c10::impl::getDeviceGuardImpl(type)->deviceCount() : 0;
    if (index >= count)
        refuse(name,
            count == 0 ? "LibTorch finds no CUDA device on this machine"
                       : formatted("expected cuda:0 to cuda:{}, the devices of this machine", count - 1));
    return {type, static_cast<c10::DeviceIndex>(index)};
}

} // namespace

std::vector<at::Device> parse_devices(const std::string& names)
{
    std::vector<at::Device> devices;
    for (std::size_t begin = 0; begin <= names.size();) {
        const auto end = std::min(names.find(',', begin), names.size());
        const std::string name = names.substr(begin, end - begin);
        const at::Device device = parse_device(name);
        if (!device.is_cpu() && std::ranges::find(devices, device) != devices.end())
            refuse(names, "expected each GPU once, but " + name + " is there twice");
        devices.push_back(device);
        begin = end + 1;
    }
    return devices;
}

std::vector<at::Device> devices_of_layers(const std::vector<at::Device>& devices, std::int64_t num_layers)
{
    const auto count = static_cast<std::int64_t>(devices.size());
    if (count > num_layers)
        throw UsageError(formatted(
            "--device: expected at most {} devices, one for each of the model's layers, found {}", num_layers, count));
    std::vector<at::Device> of_layers;
    for (std::int64_t layer = 0; layer < num_layers; ++layer)
        of_layers.push_back(devices[static_cast<std::size_t>(layer * count / num_layers)]);
    return of_layers;
}

} // namespace lava
