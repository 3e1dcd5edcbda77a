#pragma once

// Vectors of a given number of bytes, by the compilers' vector extension: the kernels are written once and compiled for
// every instruction set. Everything here is a template of the width, so that no function compiled for one instruction
// set can stand in for that of another.

#include <cstdint>

namespace lava {

// HalfFloats has as many lanes as Doubles. One specialisation a width: GCC takes no size that depends on a parameter.
template <int bytes> struct VectorTypes;

template <> struct VectorTypes<16>
{
    using Floats = float __attribute__((vector_size(16)));
    using Doubles = double __attribute__((vector_size(16)));
    using Integers = std::int64_t __attribute__((vector_size(16)));
    using HalfFloats = float __attribute__((vector_size(8)));
    using Bits = std::uint32_t __attribute__((vector_size(16)));
};

template <> struct VectorTypes<32>
{
    using Floats = float __attribute__((vector_size(32)));
    using Doubles = double __attribute__((vector_size(32)));
    using Integers = std::int64_t __attribute__((vector_size(32)));
    using HalfFloats = float __attribute__((vector_size(16)));
    using Bits = std::uint32_t __attribute__((vector_size(32)));
};

template <> struct VectorTypes<64>
{
    using Floats = float __attribute__((vector_size(64)));
    using Doubles = double __attribute__((vector_size(64)));
    using Integers = std::int64_t __attribute__((vector_size(64)));
    using HalfFloats = float __attribute__((vector_size(32)));
    using Bits = std::uint32_t __attribute__((vector_size(64)));
};

template <int bytes> struct Simd
{
    static constexpr std::int64_t floats = bytes / 4; ///< lanes
    static constexpr std::int64_t doubles = bytes / 8;

    using Floats = typename VectorTypes<bytes>::Floats;
    using Doubles = typename VectorTypes<bytes>::Doubles;
    using Integers = typename VectorTypes<bytes>::Integers;
    using HalfFloats = typename VectorTypes<bytes>::HalfFloats;
    using Bits = typename VectorTypes<bytes>::Bits; ///< as many lanes as Floats

    static Floats all(float x) { return x - Floats{}; }
    static Doubles all(double x) { return x - Doubles{}; }

    template <typename Vector> static Vector load_as(const void* from)
    {
        Vector vector;
        __builtin_memcpy(&vector, from, sizeof vector);
        return vector;
    }

    static Floats load(const float* from) { return load_as<Floats>(from); }
    static Doubles load(const double* from) { return load_as<Doubles>(from); }

    /// The first `count` lanes, zero beyond.
    static Floats load(const float* from, std::int64_t count) { return load_part<Floats, floats>(from, count); }
    static Doubles load(const double* from, std::int64_t count) { return load_part<Doubles, doubles>(from, count); }

    static Doubles widened(const float* from) { return __builtin_convertvector(load_as<HalfFloats>(from), Doubles); }

    /// The first `count` lanes, zero beyond.
    static Doubles widened(const float* from, std::int64_t count)
    {
        return __builtin_convertvector((load_part<HalfFloats, doubles>(from, count)), Doubles);
    }

    template <typename Vector> static void store(void* to, const Vector& from)
    {
        __builtin_memcpy(to, &from, sizeof from);
    }

    /// The first `count` lanes.
    static void store(float* to, const Floats& from, std::int64_t count) { store_part<floats>(to, from, count); }
    static void store(double* to, const Doubles& from, std::int64_t count) { store_part<doubles>(to, from, count); }

    static void store_narrowed(float* to, const Doubles& from) { store(to, __builtin_convertvector(from, HalfFloats)); }

    /// The first `count` lanes.
    static void store_narrowed(float* to, const Doubles& from, std::int64_t count)
    {
        const HalfFloats narrow = __builtin_convertvector(from, HalfFloats);
        store_part<doubles>(to, narrow, count);
    }

    static Floats magnitude(const Floats& x) { return x < 0 ? -x : x; }
    static Doubles magnitude(const Doubles& x) { return x < 0 ? -x : x; }

    static Floats larger(const Floats& a, const Floats& b) { return a > b ? a : b; }
    static Doubles larger(const Doubles& a, const Doubles& b) { return a > b ? a : b; }

    // Sums of a vector's lanes. Their order is a part of every result.
    static double sum(const Doubles& x) { return sum_of_halves<doubles>(Lanes<double, doubles>(x).values); }
    static float sum(const Floats& x) { return sum_of_halves<floats>(Lanes<float, floats>(x).values); }
    static float sum_in_order(const Floats& x) { return sum_one_by_one<float>(x); }
    static double sum_in_double(const Floats& x) { return sum_one_by_one<double>(x); }

    static float largest(const Floats& x) { return largest_of_halves<floats>(Lanes<float, floats>(x).values); }

private:
    template <typename Number, std::int64_t count> struct Lanes
    {
        template <typename Vector> explicit Lanes(const Vector& x) { store(values, x); }
        Number values[count];
    };

    template <typename Vector, std::int64_t lanes, typename Number>
    static Vector load_part(const Number* from, std::int64_t count)
    {
        if (count == lanes) {
            return load_as<Vector>(from);
        }
        Vector part{};
        for (std::int64_t i = 0; i < count; ++i) {
            part[i] = from[i];
        }
        return part;
    }

    template <std::int64_t lanes, typename Vector, typename Number>
    static void store_part(Number* to, const Vector& from, std::int64_t count)
    {
        if (count == lanes) {
            return store(to, from);
        }
        for (std::int64_t i = 0; i < count; ++i) {
            to[i] = from[i];
        }
    }

    template <typename Sum> static Sum sum_one_by_one(const Floats& x)
    {
        Sum sum = 0;
        for (std::int64_t lane = 0; lane < floats; ++lane) {
            sum += static_cast<Sum>(x[lane]);
        }
        return sum;
    }

    template <std::int64_t count> static float largest_of_halves(const float* lanes)
    {
        if constexpr (count == 1) {
            return lanes[0];
        } else {
            const float a = largest_of_halves<count / 2>(lanes), b = largest_of_halves<count / 2>(lanes + count / 2);
            return a > b ? a : b;
        }
    }

    template <std::int64_t count, typename T> static T sum_of_halves(const T* lanes)
    {
        if constexpr (count == 1) {
            return lanes[0];
        } else {
            return sum_of_halves<count / 2>(lanes) + sum_of_halves<count / 2>(lanes + count / 2);
        }
    }
};

} // namespace lava
