#pragma once

#include "traces/layer_view.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lava::bench {

/// Layers, and what every policy keeps of them at every budget: all that losses need.
struct Workload
{
    std::vector<LayerView> layers;
    std::vector<std::string> policies; ///< [P]
    std::int64_t budgets = 0; ///< G
    std::vector<std::vector<std::vector<std::uint32_t>>> rankings; ///< [P][L], each [num_kv_heads, seq_len]
    std::vector<std::vector<std::vector<std::int64_t>>> counts; ///< [P][L], each [G, num_kv_heads]

    /// Rows of the W_O products: one for each step of each set of head counts that differs from the layer's others.
    std::int64_t product_rows(std::size_t policy, std::size_t layer) const;
};

/// The first layers of a trace. Throws Error where it has no losses or column sums.
std::vector<LayerView> trace_layers(const std::string& file, std::int64_t layers);

std::vector<LayerView> synthetic_layers(const ModelShape& shape, std::int64_t seq_len, std::int64_t steps);

/// A layer's last `seq_len` prompt tokens and first `steps` steps.
LayerView shortened(const LayerView& layer, std::int64_t seq_len, std::int64_t steps);

/// The g-th of `budgets` evenly spaced ones.
std::int64_t even_budget(std::int64_t seq_len, std::int64_t g, std::int64_t budgets);

/// Ranks the layers by the first `policies` of twelve policies and divides `budgets` evenly spaced budgets.
Workload make_workload(std::vector<LayerView> layers, std::int64_t policies, std::int64_t budgets, int threads);

inline constexpr std::int64_t max_policies = 12;

/// The policies of a workload.
std::span<const char* const> policy_names();

} // namespace lava::bench
