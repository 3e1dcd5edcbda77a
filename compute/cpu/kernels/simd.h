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

    static Doubles widened(const float* from)
    {
        HalfFloats narrow;
        __builtin_memcpy(&narrow, from, sizeof narrow);
        return __builtin_convertvector(narrow, Doubles);
    }

    static void store_narrowed(float* to, const Doubles& from)
    {
        const HalfFloats narrow = __builtin_convertvector(from, HalfFloats);
        __builtin_memcpy(to, &narrow, sizeof narrow);
    }

    template <typename Vector> static Vector load(const void* from)
    {
        Vector vector;
        __builtin_memcpy(&vector, from, sizeof vector);
        return vector;
    }

    template <typename Vector> static void store(void* to, const Vector& from)
    {
        __builtin_memcpy(to, &from, sizeof from);
    }

    static Floats magnitude(const Floats& x) { return x < 0 ? -x : x; }
    static Doubles magnitude(const Doubles& x) { return x < 0 ? -x : x; }

    static double sum(const Doubles& x)
    {
        double lanes[doubles];
        store(lanes, x);
        return sum_of_halves<doubles>(lanes);
    }

    static float sum(const Floats& x)
    {
        float lanes[floats];
        store(lanes, x);
        return sum_of_halves<floats>(lanes);
    }

    static float largest(const Floats& x)
    {
        float lanes[floats];
        store(lanes, x);
        return largest_of_halves<floats>(lanes);
    }

private:
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
