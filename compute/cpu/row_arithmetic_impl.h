// Part of arithmetic_impl.h.

#include "compute/cpu/row_arithmetic.h"
#include "compute/cpu/vectors_impl.h"

namespace lava {

namespace {

constexpr std::int64_t half_lanes = lanes / 2;
using Doubles [[gnu::vector_size(LAVA_LANES * 4)]] = double;
using HalfFloats [[gnu::vector_size(LAVA_LANES * 2)]] = float;
using Longs [[gnu::vector_size(LAVA_LANES * 4)]] = std::int64_t;

/// The first `count` of a vector's floats, zero beyond.
inline Floats load(const float* p, std::int64_t count)
{
    if (count == lanes)
        return load(p);
    Floats value{};
    for (std::int64_t i = 0; i < count; ++i)
        value[i] = p[i];
    return value;
}

inline void store(float* p, Floats value, std::int64_t count)
{
    if (count == lanes)
        return store(p, value);
    for (std::int64_t i = 0; i < count; ++i)
        p[i] = value[i];
}

template <typename Number> inline Doubles load_doubles(const Number* p, std::int64_t count)
{
    using Numbers [[gnu::vector_size(half_lanes * sizeof(Number))]] = Number;
    Numbers value{};
    if (count == half_lanes)
        __builtin_memcpy(&value, p, sizeof value);
    else
        for (std::int64_t i = 0; i < count; ++i)
            value[i] = p[i];
    return __builtin_convertvector(value, Doubles);
}

inline void store_floats(float* p, Doubles doubles, std::int64_t count)
{
    const HalfFloats value = __builtin_convertvector(doubles, HalfFloats);
    if (count == half_lanes)
        __builtin_memcpy(p, &value, sizeof value);
    else
        for (std::int64_t i = 0; i < count; ++i)
            p[i] = value[i];
}

/// Calls work(first, how many) for every vector of `width` numbers, the last of which may be a part.
template <std::int64_t width, typename Work> inline void by_vector(std::int64_t count, Work work)
{
    std::int64_t i = 0;
    for (; i + width <= count; i += width)
        work(i, width);
    if (i < count)
        work(i, count - i);
}

/// e^x for x <= 0 within 2 units in the last place; exactly 0 below -708. Taylor's series, of which the first term left
/// out is below 4e-18 of the sum.
inline Doubles exponential(Doubles x)
{
    constexpr double magic = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
    const Doubles clamped = x > -708.0 ? x : Doubles{} - 708.0;
    const Doubles shifted = clamped * 1.4426950408889634 + magic;
    const Doubles n = shifted - magic;
    const Doubles r = clamped - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10; // ln 2 in two parts
    constexpr double factorials[]{
        479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
    Doubles sum = Doubles{} + 1.0 / 6227020800.0;
    for (const double factorial : factorials)
        sum = sum * r + 1.0 / factorial;
    const Longs exponent = ((Longs)shifted - 0x4338000000000000 + 1023) << 52; // bits, not values
    return x < -708.0 ? Doubles{} : sum * (Doubles)exponent;
}

/// x / (1 + e^-x), without overflow.
template <typename Vector> inline Vector silu(Vector x)
{
    const Vector e = exponential(x < 0 ? x : -x);
    return x * (x < 0 ? e : Vector{} + 1) / (e + 1);
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t size, double eps, float* out)
{
    for (std::int64_t row = 0; row < rows; ++row, x += size, out += size) {
        Floats squares{};
        by_vector<lanes>(size, [&](std::int64_t i, std::int64_t count) {
            const Floats value = load(x + i, count);
            squares += value * value;
        });
        const float square = sum_of(squares) / static_cast<float>(size) + static_cast<float>(eps);
        const float scale = 1 / __builtin_sqrtf(square);
        by_vector<lanes>(size, [&](std::int64_t i, std::int64_t count) {
            store(out + i, load(x + i, count) * scale * load(weight + i, count), count);
        });
    }
}

void gate(float* gate, const float* up, std::int64_t count)
{
    by_vector<lanes>(count, [&](std::int64_t i, std::int64_t part) {
        store(gate + i, silu(load(gate + i, part)) * load(up + i, part), part);
    });
}

void rotate(const RotatedRow& row)
{
    const std::int64_t half = row.dim / 2;
    for (std::int64_t head = 0; head < row.heads; ++head) {
        const float* __restrict__ x = row.x + head * row.head_dim;
        float* __restrict__ out = row.out + head * row.out_stride;
        for (std::int64_t i = 0; i < half; ++i) {
            out[i] = x[i] * row.cos[i] - x[half + i] * row.sin[i];
            out[half + i] = x[half + i] * row.cos[half + i] + x[i] * row.sin[half + i];
        }
        for (std::int64_t i = row.dim; i < row.head_dim; ++i)
            out[i] = x[i];
    }
}

/// `count` rows at once, so that x is read once for them.
template <std::int64_t count> inline void dot_rows(const float* weight, std::int64_t size, const float* x, float* out)
{
    Floats sums[count]{};
    by_vector<lanes>(size, [&](std::int64_t i, std::int64_t part) {
        const Floats value = load(x + i, part);
        for (std::int64_t row = 0; row < count; ++row)
            sums[row] += load(weight + row * size + i, part) * value;
    });
    for (std::int64_t row = 0; row < count; ++row)
        out[row] = sum_of(sums[row]);
}

void dots(const float* weight, std::int64_t rows, std::int64_t size, const float* x, float* out)
{
    constexpr std::int64_t at_once = 4;
    std::int64_t row = 0;
    for (; row + at_once <= rows; row += at_once)
        dot_rows<at_once>(weight + row * size, size, x, out + row);
    for (; row < rows; ++row)
        dot_rows<1>(weight + row * size, size, x, out + row);
}

void norm_change(const NormChange& row, std::int64_t size)
{
    Doubles sums{};
    by_vector<half_lanes>(size, [&](std::int64_t i, std::int64_t count) {
        const Doubles d = load_doubles(row.d + i, count);
        sums += d * (d - 2 * load_doubles(row.x + i, count));
    });
    double square_change = 0;
    for (std::int64_t i = 0; i < half_lanes; ++i)
        square_change += sums[i] / static_cast<double>(size);
    const double before = __builtin_sqrt(row.square), after = __builtin_sqrt(row.square + square_change);
    const double inverse_after = 1 / after, inverse_change = square_change / (before * after * (before + after));
    by_vector<half_lanes>(size, [&](std::int64_t i, std::int64_t count) {
        const Doubles d = load_doubles(row.d + i, count), x = load_doubles(row.x + i, count);
        store_floats(
            row.out + i, (d * inverse_after + x * inverse_change) * load_doubles(row.weight + i, count), count);
    });
}

void activate(const float* gate, std::int64_t count, double* out)
{
    by_vector<half_lanes>(count, [&](std::int64_t i, std::int64_t part) {
        const Doubles value = silu(load_doubles(gate + i, part));
        __builtin_memcpy(out + i, &value, static_cast<unsigned long>(part) * sizeof(double));
    });
}

void gate_change(const GateChange& row, std::int64_t count)
{
    by_vector<half_lanes>(count, [&](std::int64_t i, std::int64_t part) {
        const Doubles after = silu(load_doubles(row.gate + i, part) - load_doubles(row.gate_change + i, part));
        const Doubles change = (load_doubles(row.activated + i, part) - after) * load_doubles(row.up + i, part)
            + after * load_doubles(row.up_change + i, part);
        store_floats(row.product_change + i, change, part);
    });
}

} // namespace

} // namespace lava
