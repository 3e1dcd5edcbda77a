#pragma once

#include <string>
#include <vector>

namespace lava {

/// Budgets per layer from a CSV file with the header layer,budget: layers 0, 1, ... in order, numbers of at least 0,
/// not all 0. Throws Error naming file and line.
std::vector<double> read_layer_table(const std::string& file);

} // namespace lava
