#pragma once

#include "analysis/replay_report.h"
#include "base/hdf5/h5.h"

namespace lava {

// The closed loop's part of a report file, where the report has one.

void write_closed_loop(const h5::Group& root, const ReplayReport& report);
void write_closed_loop(
    const h5::Group& policy, const ReplayReport& report, const PolicyReplay& replay, h5::WriteOptions options);

/// Reads what is there: nothing from a report without a closed loop.
void read_closed_loop(const h5::Group& root, ReplayReport& report);
void read_closed_loop(const h5::Group& policy, const ReplayReport& report, PolicyReplay& replay);

/// Throws Error naming `file`, dataset, expected and found where lengths or values make no sense.
void check_closed_loop(const std::filesystem::path& file, const ReplayReport& report);

} // namespace lava
