#pragma once

#include <cstdint>

namespace lava {

/// Bytes that this process may still take before the machine, or the control group it runs in, begins to swap or kill,
/// or `ulimit -d` refuses more; the largest number where the system does not say.
std::int64_t available_memory();

} // namespace lava
