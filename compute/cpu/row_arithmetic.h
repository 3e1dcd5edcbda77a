#pragma once

// What lies between the CPU's matrix products in float32, row by row. Plain pointers, as in attention_tile.h.

#include <cstdint>

namespace lava {

/// A token's row of heads and where its angles and results lie.
struct RotatedRow
{
    const float* x; ///< [heads, head_dim]
    std::int64_t heads;
    std::int64_t head_dim;
    const float *cos, *sin; ///< [dim]
    std::int64_t dim; ///< even, at most head_dim: the dimensions from dim on stay as they are
    float* out; ///< head h at out + h * out_stride
    std::int64_t out_stride;
};

/// A gated FFN's hidden units on one row, and how much less its two products are on another.
struct GateChange
{
    const float *gate, *up; ///< [count]
    const double* activated; ///< [count]: activate(gate)
    const float *gate_change, *up_change; ///< [count]
    float* product_change; ///< [count]: the result; may be one of the changes
};

/// x [size] over its root mean square times weight, and a row that differs by d from it.
struct NormChange
{
    const float* x;
    const float* d;
    const float* weight;
    double square; ///< mean of x^2, plus epsilon
    float* out; ///< may be d
};

/// Every result depends on its own row alone.
struct RowArithmetic
{
    /// out [rows, size] = x / sqrt(mean of x^2 + eps) times weight [size]; out may be x.
    void (*rms_norm)(const float* x, const float* weight, std::int64_t rows, std::int64_t size, double eps, float* out);
    /// gate [count] = silu(gate) up.
    void (*gate)(float* gate, const float* up, std::int64_t count);
    /// Rotates the pairs (i, i + dim / 2) of every head.
    void (*rotate)(const RotatedRow& row);
    /// out [rows] = weight [rows, size] x.
    void (*dots)(const float* weight, std::int64_t rows, std::int64_t size, const float* x, float* out);
    /// out [size] = norm(x) - norm(x - d), formed from d in float64: as exact for the smallest d as for the largest.
    void (*norm_change)(const NormChange& row, std::int64_t size);
    /// out [count] = silu(gate) in float64, as gate_change() computes it.
    void (*activate)(const float* gate, std::int64_t count, double* out);
    /// silu(gate) up - silu(gate - gate_change) (up - up_change), in float64.
    void (*gate_change)(const GateChange& row, std::int64_t count);
};

} // namespace lava
