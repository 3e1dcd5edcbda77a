#pragma once

#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <cstdint>
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

/// [rows, inner] times [inner, columns], `count` times; a part of one counts as such.
struct ProductShape
{
    std::string name;
    std::int64_t rows;
    std::int64_t inner;
    std::int64_t columns;
    double count;
};

/// A part of the products is run, on all threads at once, and the time scaled to the whole.
FloorProduct time_product(const ProductShape& shape, int threads, Clock clock);

/// QK^T and the window's scores once per layer, one PV per policy, W_O per policy and distinct budget.
std::vector<FloorProduct> time_floor(const Workload& workload, int threads, Clock clock);

/// The faster library for each product.
double floor_seconds(const std::vector<FloorProduct>& products);

} // namespace lava::bench
