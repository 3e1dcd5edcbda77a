#pragma once

#include "compute/descending_key.h"

namespace lava::cuda {

/// Order of each head's values, largest first, equal values by index: a stable radix sort, one block for each head.
/// Twin of descending_order() (replay/retention.h).
struct RadixOrder
{
    static constexpr int threads = 256;
    static constexpr int digit_bits = 4, digits = 1 << digit_bits, passes = 32 / digit_bits;
    static_assert(passes % 2 == 0); // so that the last pass ends in `order`

    std::int64_t heads, count;
    const float* values; ///< [heads, count]
    std::uint32_t* order; ///< [heads, count]
    std::uint32_t* other; ///< [heads, count]: workspace

    std::int64_t blocks() const { return heads; }
    static constexpr std::size_t shared_bytes() { return (digits + 1) * threads * sizeof(std::uint32_t); }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        SharedMemory memory(block.shared());
        std::uint32_t* const counts = memory.take<std::uint32_t>(digits * threads); // [digits, threads]
        std::uint32_t* const totals = memory.take<std::uint32_t>(threads);
        const float* const of_head = values + block.index() * count;
        std::uint32_t* from = order + block.index() * count;
        std::uint32_t* to = other + block.index() * count;
        const std::int64_t each = ceil_divide(count, threads); // a thread's own stretch
        const std::int64_t begin = smaller(block.thread() * each, count), end = smaller(begin + each, count);
        for (std::int64_t i = begin; i < end; ++i) {
            from[i] = static_cast<std::uint32_t>(i);
        }
        for (int pass = 0; pass < passes; ++pass) {
            for (int digit = 0; digit < digits; ++digit) {
                counts[digit * threads + block.thread()] = 0;
            }
            for (std::int64_t i = begin; i < end; ++i) {
                ++counts[digit_of(of_head[from[i]], pass) * threads + block.thread()];
            }
            make_offsets(block, counts, totals);
            for (std::int64_t i = begin; i < end; ++i) {
                to[counts[digit_of(of_head[from[i]], pass) * threads + block.thread()]++] = from[i];
            }
            block.sync(); // also makes what was written seen by the whole block
            std::uint32_t* const previous = from;
            from = to;
            to = previous;
        }
    }

private:
    static LAVA_DEVICE int digit_of(float value, int pass)
    {
        return static_cast<int>(descending_key(value) >> (pass * digit_bits) & (digits - 1));
    }

    /// Counts become the places where each thread's first value with that digit goes: smaller digits first, then
    /// earlier stretches. Thread t sums the digits' counts t * digits to t * digits + digits - 1.
    template <typename Block>
    static LAVA_DEVICE void make_offsets(const Block& block, std::uint32_t* counts, std::uint32_t* totals)
    {
        const int thread = block.thread();
        block.sync();
        std::uint32_t own = 0;
        for (int i = 0; i < digits; ++i) {
            own += counts[thread * digits + i];
        }
        totals[thread] = own;
        for (int distance = 1; distance < threads; distance *= 2) {
            block.sync();
            const std::uint32_t before = thread >= distance ? totals[thread - distance] : 0;
            block.sync();
            totals[thread] += before;
        }
        std::uint32_t start = totals[thread] - own;
        for (int i = 0; i < digits; ++i) {
            const std::uint32_t size = counts[thread * digits + i];
            counts[thread * digits + i] = start;
            start += size;
        }
        block.sync();
    }
};

} // namespace lava::cuda
