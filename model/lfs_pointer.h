#pragma once

#include <filesystem>

namespace lava {

/// Throws Error where `file` is a Git LFS pointer: what a repository holds in a large file's place until Git LFS has
/// fetched it. What is no file is let pass.
void refuse_lfs_pointer(const std::filesystem::path& file);

} // namespace lava
