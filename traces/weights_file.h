#pragma once

// W_O and b_o of a model in a file of their own, which the traces of that model link to.

#include "base/hdf5/h5.h"
#include "traces/trace_info.h"

namespace lava {

/// Throws Error, naming the file and both models, unless it holds the weights that `info` speaks of.
void check_weights_file(const std::filesystem::path& file, const TraceInfo& info);

/// Marks `root` as the weights file of `info`'s model.
void write_weights_metadata(const h5::Group& root, const TraceInfo& info);

} // namespace lava
