#pragma once

// What lies between the matrix products, row by row: what stands behind RowArithmetic.

#include "compute/cpu/kernels/exponential.h"
#include "compute/cpu/row_arithmetic.h"

namespace lava {

/// Calls work(first, how many) for every vector of `width` numbers, the last of which may be a part. `Work` is a lambda
/// of a function of one instruction set, and so this is too.
template <std::int64_t width, typename Work> [[gnu::always_inline]] inline void by_vector(std::int64_t count, Work work)
{
    std::int64_t i = 0;
    for (; i + width <= count; i += width) {
        work(i, width);
    }
    if (i < count) {
        work(i, count - i);
    }
}

/// x / (1 + e^-x), without overflow.
template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Floats silu(const typename Simd<bytes>::Floats& x)
{
    const typename Simd<bytes>::Floats e = exp_flushed<bytes>(x < 0 ? x : -x);
    return x * (x < 0 ? e : Simd<bytes>::all(1.0F)) / (e + 1);
}

template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Doubles silu(const typename Simd<bytes>::Doubles& x)
{
    const typename Simd<bytes>::Doubles e = exp_double<bytes>(x < 0 ? x : -x);
    return x * (x < 0 ? e : Simd<bytes>::all(1.0)) / (e + 1);
}

template <int bytes>
void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t size, double eps, float* out)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    for (std::int64_t row = 0; row < rows; ++row, x += size, out += size) {
        Floats squares{};
        by_vector<S::floats>(size, [&](std::int64_t i, std::int64_t count) {
            const Floats value = S::load(x + i, count);
            squares += value * value;
        });
        const float square = S::sum_in_order(squares) / static_cast<float>(size) + static_cast<float>(eps);
        const float scale = 1 / __builtin_sqrtf(square);
        by_vector<S::floats>(size, [&](std::int64_t i, std::int64_t count) {
            S::store(out + i, S::load(x + i, count) * scale * S::load(weight + i, count), count);
        });
    }
}

template <int bytes> void gate(float* gate, const float* up, std::int64_t count)
{
    using S = Simd<bytes>;
    by_vector<S::floats>(count, [&](std::int64_t i, std::int64_t part) {
        S::store(gate + i, silu<bytes>(S::load(gate + i, part)) * S::load(up + i, part), part);
    });
}

template <int bytes> void rotate(const RotatedRow& row)
{
    const std::int64_t half = row.dim / 2;
    for (std::int64_t head = 0; head < row.heads; ++head) {
        const float* __restrict__ x = row.x + head * row.head_dim;
        float* __restrict__ out = row.out + head * row.out_stride;
        for (std::int64_t i = 0; i < half; ++i) {
            out[i] = x[i] * row.cos[i] - x[half + i] * row.sin[i];
            out[half + i] = x[half + i] * row.cos[half + i] + x[i] * row.sin[half + i];
        }
        for (std::int64_t i = row.dim; i < row.head_dim; ++i) {
            out[i] = x[i];
        }
    }
}

/// `count` rows at once, so that x is read once for them.
template <int bytes, int count> void dot_rows(const float* weight, std::int64_t size, const float* x, float* out)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    Floats sums[count]{};
    by_vector<S::floats>(size, [&](std::int64_t i, std::int64_t part) {
        const Floats value = S::load(x + i, part);
        for (int row = 0; row < count; ++row) {
            sums[row] += S::load(weight + row * size + i, part) * value;
        }
    });
    for (int row = 0; row < count; ++row) {
        out[row] = S::sum_in_order(sums[row]);
    }
}

template <int bytes> void dots(const float* weight, std::int64_t rows, std::int64_t size, const float* x, float* out)
{
    constexpr int at_once = 4;
    std::int64_t row = 0;
    for (; row + at_once <= rows; row += at_once) {
        dot_rows<bytes, at_once>(weight + row * size, size, x, out + row);
    }
    for (; row < rows; ++row) {
        dot_rows<bytes, 1>(weight + row * size, size, x, out + row);
    }
}

template <int bytes> void norm_change(const NormChange& row, std::int64_t size)
{
    using S = Simd<bytes>;
    using Doubles = typename S::Doubles;
    Doubles sums{};
    by_vector<S::doubles>(size, [&](std::int64_t i, std::int64_t count) {
        const Doubles d = S::widened(row.d + i, count);
        sums += d * (d - 2 * S::widened(row.x + i, count));
    });
    double square_change = 0;
    for (std::int64_t i = 0; i < S::doubles; ++i) {
        square_change += sums[i] / static_cast<double>(size);
    }
    const double before = __builtin_sqrt(row.square), after = __builtin_sqrt(row.square + square_change);
    const double inverse_after = 1 / after, inverse_change = square_change / (before * after * (before + after));
    by_vector<S::doubles>(size, [&](std::int64_t i, std::int64_t count) {
        const Doubles d = S::widened(row.d + i, count), x = S::widened(row.x + i, count);
        S::store_narrowed(
            row.out + i, (d * inverse_after + x * inverse_change) * S::widened(row.weight + i, count), count);
    });
}

template <int bytes> void activate(const float* gate, std::int64_t count, double* out)
{
    using S = Simd<bytes>;
    by_vector<S::doubles>(count,
        [&](std::int64_t i, std::int64_t part) { S::store(out + i, silu<bytes>(S::widened(gate + i, part)), part); });
}

template <int bytes> void gate_change(const GateChange& row, std::int64_t count)
{
    using S = Simd<bytes>;
    using Doubles = typename S::Doubles;
    by_vector<S::doubles>(count, [&](std::int64_t i, std::int64_t part) {
        const Doubles after = silu<bytes>(S::widened(row.gate + i, part) - S::widened(row.gate_change + i, part));
        const Doubles change = (S::load(row.activated + i, part) - after) * S::widened(row.up + i, part)
            + after * S::widened(row.up_change + i, part);
        S::store_narrowed(row.product_change + i, change, part);
    });
}

} // namespace lava
