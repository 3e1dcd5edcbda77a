#pragma once

#include "base/hdf5/h5.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lava {

constexpr h5::WriteOptions packed{.deflate = 1}; ///< how small arrays of a report are stored

// Ids, one after the other; absent where there are none.

void write_ids(const h5::Group& group, const std::string& name, const std::vector<std::int64_t>& ids);
std::vector<std::int64_t> read_ids(const h5::Group& group, const std::string& name);

// Lists of byte strings: NAME_bytes holds them end to end, NAME_ends where each ends. Both are absent where there are
// none.

void write_texts(const h5::Group& group, const std::string& name, const std::vector<std::string>& texts);
std::vector<std::string> read_texts(const h5::Group& group, const std::string& name);

} // namespace lava
