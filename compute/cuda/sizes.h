#pragma once

#include "compute/cuda/block.h"
#include "compute/device.h"

namespace lava::cuda {

/// LossSizes as kernels see them.
struct Sizes : LossSizes
{
    Sizes() = default;
    explicit Sizes(const LossSizes& sizes)
        : LossSizes(sizes)
    { }

    LAVA_HOST_DEVICE std::int64_t group() const { return num_heads / num_kv_heads; }
    LAVA_HOST_DEVICE std::int64_t entries() const { return seq_len + steps; }
    LAVA_HOST_DEVICE std::int64_t columns() const { return group() * steps; }
    LAVA_HOST_DEVICE bool sees(std::int64_t step, std::int64_t entry) const
    {
        const std::int64_t position = seq_len + step;
        return entry <= position && (sliding_window == 0 || entry > position - sliding_window);
    }
};

} // namespace lava::cuda
