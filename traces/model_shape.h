#pragma once

#include <cstdint>

namespace lava {

/// The sizes of a decoder that eviction and its losses depend on.
struct ModelShape
{
    std::int64_t num_layers = 0;
    std::int64_t num_heads = 0; ///< query heads
    std::int64_t num_kv_heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t hidden_size = 0;

    /// Query heads that share one KV head; query head h reads KV head h / group_size().
    std::int64_t group_size() const { return num_heads / num_kv_heads; }

    bool operator==(const ModelShape&) const = default;
};

/// One KV head of one layer.
struct HeadId
{
    std::int64_t layer = 0;
    std::int64_t kv_head = 0;
};

} // namespace lava
