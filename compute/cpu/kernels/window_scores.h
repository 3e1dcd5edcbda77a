#pragma once

// Attention of a window's queries to all keys, in fp32: queries in columns, so that the softmax runs along vectors.

#include "compute/cpu/kernels/exponential.h"
#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

template <int bytes, int keys>
void score_tile(const float* key, std::int64_t dim, const float* queries, std::int64_t columns, float* scores)
{
    using S = Simd<bytes>;
    constexpr int vectors = 2;
    typename S::Floats sums[keys][vectors] = {};
    for (std::int64_t i = 0; i < dim; ++i) {
        const auto first = S::load(queries + i * score_panel);
        const auto second = S::load(queries + i * score_panel + S::floats);
#pragma GCC unroll 12
        for (int k = 0; k < keys; ++k) {
            const auto x = key[k * dim + i];
            sums[k][0] += x * first;
            sums[k][1] += x * second;
        }
    }
#pragma GCC unroll 12
    for (int k = 0; k < keys; ++k) {
        S::store(scores + k * columns, sums[k][0]);
        S::store(scores + k * columns + S::floats, sums[k][1]);
    }
}

template <int bytes>
void scores(
    const float* keys, std::int64_t count, std::int64_t dim, const float* panels, std::int64_t columns, float* to)
{
    constexpr int tile = bytes == 64 ? 12 : 6;
    constexpr auto step = 2 * Simd<bytes>::floats;
    for (std::int64_t column = 0; column < columns; column += step) {
        const auto* queries = panels + column / score_panel * score_panel * dim + column % score_panel;
        std::int64_t key = 0;
        for (; key + tile <= count; key += tile) {
            score_tile<bytes, tile>(keys + key * dim, dim, queries, columns, to + key * columns + column);
        }
        for (; key < count; ++key) {
            score_tile<bytes, 1>(keys + key * dim, dim, queries, columns, to + key * columns + column);
        }
    }
}

template <int bytes>
void exponentiate_block(float* scores, std::int64_t count, std::int64_t columns, float* maxima, double* sums)
{
    using S = Simd<bytes>;
    for (std::int64_t column = 0; column < columns; column += S::floats) {
        auto largest = S::load(scores + column);
        for (std::int64_t row = 1; row < count; ++row) {
            const auto x = S::load(scores + row * columns + column);
            largest = S::larger(x, largest);
        }
        S::store(maxima + column, largest);
        typename S::Floats sum = {};
        for (std::int64_t row = 0; row < count; ++row) {
            auto* score = scores + row * columns + column;
            const auto e = exp_gradual<bytes>(S::load(score) - largest);
            S::store(score, e);
            sum += e;
        }
        for (std::int64_t lane = 0; lane < S::floats; ++lane) {
            sums[column + lane] = static_cast<double>(sum[lane]);
        }
    }
}

template <int bytes>
void row_products(
    const float* rows, std::int64_t stride, std::int64_t count, const float* factors, std::int64_t columns, float* sums)
{
    using S = Simd<bytes>;
    for (std::int64_t row = 0; row < count; ++row) {
        typename S::Floats lanes = {};
        for (std::int64_t column = 0; column < columns; column += S::floats) {
            lanes += S::load(rows + row * stride + column) * S::load(factors + column);
        }
        sums[row] = S::sum(lanes);
    }
}

template <int bytes> void row_norms(const float* rows, std::int64_t count, std::int64_t length, float* norms)
{
    using S = Simd<bytes>;
    for (std::int64_t row = 0; row < count; ++row) {
        const auto* values = rows + row * length;
        typename S::Floats lanes = {};
        std::int64_t i = 0;
        for (; i + S::floats <= length; i += S::floats) {
            lanes += S::magnitude(S::load(values + i));
        }
        float sum = S::sum(lanes);
        for (; i < length; ++i) {
            sum += values[i] < 0 ? -values[i] : values[i];
        }
        norms[row] = sum;
    }
}

} // namespace lava
