#pragma once

#include "bench/workload.h"

namespace lava::bench {

/// Sum of all losses of all layers, policies and budgets, by one pass per layer, the window's attention included;
/// layers in parallel.
double one_pass(const Workload& workload, int threads);

/// Sum of the losses over the first `cells` budgets of the first policy in the first layer, each by itself: attention,
/// losses and bounds anew, in float64 and in plain LibTorch calls.
double naive_cells(const Workload& workload, std::int64_t cells, int threads);

/// What one_pass says of those cells.
double same_cells(const Workload& workload, std::int64_t cells);

} // namespace lava::bench
