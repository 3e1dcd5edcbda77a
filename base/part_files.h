#pragma once

#include <filesystem>

namespace lava {

/// ".NAME.PROCESS-KERNEL-RANDOM.part" beside `real`: a name that nothing else is likely to have. KERNEL stands for the
/// running kernel and what its process numbers count, and is "0" where these cannot be told.
std::filesystem::path part_of(const std::filesystem::path& real);

/// Removes the parts of `real` whose process is no more: it was killed by a signal that no handler sees. Whatever
/// another kernel or container has written stays, since its processes cannot be seen from here. Never throws.
void remove_abandoned_parts(const std::filesystem::path& real);

} // namespace lava
