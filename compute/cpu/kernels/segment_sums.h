#pragma once

// Sums of weights times values over a gathered list of entries.

#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

// Entries summed in registers before they are added to the sums: bounds the error of a long segment, and what is
// touched stays in the first-level cache while all tiles read it.
inline constexpr std::int64_t entries_per_block = 64;

template <int bytes, int columns, int vectors>
void add_tile(const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, std::int64_t column,
    std::int64_t offset, float* sums)
{
    using S = Simd<bytes>;
    typename S::Floats block[columns][vectors] = {};
    for (std::int64_t i = 0; i < count; ++i) {
        const auto* weights = entries.weights + rows[i] * entries.weight_stride + column;
        const auto* values = entries.values + rows[i] * entries.dim + offset;
        typename S::Floats value[vectors];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            value[v] = S::load(values + v * S::floats);
        }
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                block[c][v] += weights[c] * value[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            auto* to = sums + (column + c) * entries.dim + offset + v * S::floats;
            S::store(to, S::load(to) + block[c][v]);
        }
    }
}

template <int bytes, int columns>
void add_columns(
    const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, std::int64_t column, float* sums)
{
    constexpr int vectors = bytes == 64 ? 4 : 2; // 6 x 4 of 32 registers, 6 x 2 of 16
    constexpr auto lanes = Simd<bytes>::floats;
    std::int64_t offset = 0;
    for (; offset + vectors * lanes <= entries.dim; offset += vectors * lanes) {
        add_tile<bytes, columns, vectors>(entries, rows, count, column, offset, sums);
    }
    for (; offset < entries.dim; offset += lanes) {
        add_tile<bytes, columns, 1>(entries, rows, count, column, offset, sums);
    }
}

template <int bytes>
void add_masses(const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, double* mass)
{
    using S = Simd<bytes>;
    for (std::int64_t column = 0; column < entries.weight_stride; column += S::floats) {
        typename S::Floats block = {};
        for (std::int64_t i = 0; i < count; ++i) {
            block += S::load(entries.weights + rows[i] * entries.weight_stride + column);
        }
        for (std::int64_t lane = 0; lane < S::floats && column + lane < entries.columns; ++lane) {
            mass[column + lane] += static_cast<double>(block[lane]);
        }
    }
}

// The rows of the next block, on their way while this one is summed.
template <int bytes>
void prefetch_entries(const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count)
{
    constexpr std::int64_t line = 16; // floats
    for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t at = 0; at < entries.columns; at += line) {
            __builtin_prefetch(entries.weights + rows[i] * entries.weight_stride + at);
        }
        for (std::int64_t at = 0; at < entries.dim; at += line) {
            __builtin_prefetch(entries.values + rows[i] * entries.dim + at);
        }
    }
}

// All columns from `column` on, by as many tiles of `tile` columns as fit, then by narrower ones.
template <int bytes, int tile>
void add_all_columns(
    const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, std::int64_t column, float* sums)
{
    for (; column + tile <= entries.columns; column += tile) {
        add_columns<bytes, tile>(entries, rows, count, column, sums);
    }
    if constexpr (tile > 1) {
        add_all_columns<bytes, tile / 2>(entries, rows, count, column, sums);
    }
}

template <int bytes>
void add_entries(
    const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, float* sums, double* mass)
{
    for (std::int64_t begin = 0; begin < count; begin += entries_per_block) {
        const auto* block = rows + begin;
        const auto left = count - begin;
        const auto size = left < entries_per_block ? left : entries_per_block;
        const auto after = left - size;
        prefetch_entries<bytes>(entries, block + size, after < entries_per_block ? after : entries_per_block);
        add_masses<bytes>(entries, block, size, mass);
        add_all_columns<bytes, 6>(entries, block, size, 0, sums);
    }
}

template <int bytes> void accumulate(const float* from, std::int64_t count, double* to)
{
    using S = Simd<bytes>;
    std::int64_t i = 0;
    for (; i + S::doubles <= count; i += S::doubles) {
        S::store(to + i, S::load(to + i) + S::widened(from + i));
    }
    for (; i < count; ++i) {
        to[i] += static_cast<double>(from[i]);
    }
}

} // namespace lava
