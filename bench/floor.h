#pragma once

#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <string>
#include <vector>

namespace lava::bench {

/// One of the products that exact losses cannot do without (method: section 3), timed alone.
struct FloorProduct
{
    std::string name;
    double flops = 0; ///< of all of them
    double mkl_seconds = 0; ///< by at::mm
    double onednn_seconds = 0; ///< by oneDNN's kernel inside LibTorch
};

/// QK^T and the window's scores once per layer, one PV per policy, W_O per policy and distinct budget. A part of each
/// is run, on all threads at once, and the time scaled to the whole.
std::vector<FloorProduct> time_floor(const Workload& workload, int threads, Clock clock);

/// The faster library for each product.
double floor_seconds(const std::vector<FloorProduct>& products);

} // namespace lava::bench
