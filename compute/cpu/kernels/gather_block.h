#pragma once

// Entries that lie anywhere into a block of their own, keys transposed.

#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

/// Four rows of four floats each into four columns, `stride` apart.
template <int bytes>
[[gnu::always_inline]] inline void transpose_four(const float* const* rows, float* to, std::int64_t stride)
{
    using S = Simd<bytes>;
    using Four = typename VectorTypes<16>::Floats;
    const auto a = S::template load_as<Four>(rows[0]), b = S::template load_as<Four>(rows[1]),
               c = S::template load_as<Four>(rows[2]), d = S::template load_as<Four>(rows[3]);
    const auto ac_low = __builtin_shufflevector(a, c, 0, 4, 1, 5), ac_high = __builtin_shufflevector(a, c, 2, 6, 3, 7),
               bd_low = __builtin_shufflevector(b, d, 0, 4, 1, 5), bd_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    S::store(to, __builtin_shufflevector(ac_low, bd_low, 0, 4, 1, 5));
    S::store(to + stride, __builtin_shufflevector(ac_low, bd_low, 2, 6, 3, 7));
    S::store(to + 2 * stride, __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5));
    S::store(to + 3 * stride, __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7));
}

template <int bytes>
void gather_block(const EntryRows& entries, const std::uint32_t* rows, std::int64_t count, float* keys, float* values)
{
    const auto dim = entries.dim, value_stride = padded(dim);
    for (std::int64_t slot = 0; slot < count; ++slot) {
        __builtin_memcpy(values + slot * value_stride, entries.values + rows[slot] * dim,
            static_cast<std::size_t>(dim) * sizeof(float));
    }
    std::int64_t slot = 0;
    for (; slot + 4 <= count; slot += 4) {
        const float* from[4];
        for (int i = 0; i < 4; ++i) {
            from[i] = entries.keys + rows[slot + i] * dim;
        }
        std::int64_t at = 0;
        for (; at + 4 <= dim; at += 4) {
            transpose_four<bytes>(from, keys + at * block_entries + slot, block_entries);
            for (auto& row : from) {
                row += 4;
            }
        }
        for (; at < dim; ++at) {
            for (int i = 0; i < 4; ++i) {
                keys[at * block_entries + slot + i] = *from[i]++;
            }
        }
    }
    for (; slot < count; ++slot) {
        for (std::int64_t at = 0; at < dim; ++at) {
            keys[at * block_entries + slot] = entries.keys[rows[slot] * dim + at];
        }
    }
}

} // namespace lava
