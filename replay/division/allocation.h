#pragma once

#include "replay/policy.h"
#include "replay/scores/precision.h"

#include <functional>

namespace lava {

// Dividing a budget: layer rules give each layer a number of evictable entries per KV head, head rules share that
// within the layer. Integer arithmetic follows the released codes (Python's).

/// b for every layer.
std::vector<std::int64_t> uniform_layers(std::int64_t num_layers, std::int64_t per_head);

/// PyramidKV's integer schedule (as in AdaKV's and LAVa's code): linear from many entries below to few above, clipped
/// to what exists. The floored step makes the sum exceed num_layers * spare. One layer: spare. The released codes
/// compute it for the first prompt they see and keep it: `first_prompt` tokens, or 0 for this trace's.
std::vector<std::int64_t> pyramid_layers(
    const BudgetRequest& request, std::int64_t beta, std::int64_t first_prompt = 0);

/// Pyramid of layers as KVCache-Factory has it: anew for each prompt, and `spare` for all layers where the prompt is
/// shorter than 2 * spare.
std::vector<std::int64_t> kvcache_factory_pyramid(const BudgetRequest& request, std::int64_t beta);

/// The schedule in real numbers, window included: budget / beta in the last layer, 2 budget - budget / beta in the
/// first, linear between, rounded down (LAVa, Eq. 21). One layer: spare.
std::vector<std::int64_t> paper_pyramid(const BudgetRequest& request, std::int64_t beta);

/// A table's budgets, window included, scaled so that their mean is the budget, rounded down; at least the window.
std::vector<std::int64_t> table_layers(std::span<const double> budgets, const BudgetRequest& request);

/// trunc(weight_l / sum of weights * spare * num_layers) per KV head (LAVa, section 4.2: layers share by score
/// entropy).
std::vector<std::int64_t> weighted_layers(std::span<const RankedLayer> layers, const BudgetRequest& request);

/// CAKE's budgets after every layer of the prefill. `granted`: the last ones; `kept`: what is left of each layer when
/// every earlier layer is cut again as layers arrive (cascading), or once at the end.
struct CakeLayers
{
    std::vector<std::int64_t> granted; ///< [num_layers] per KV head
    std::vector<std::int64_t> kept; ///< [num_layers] per KV head, at most evictable
};
CakeLayers cake_layers(std::span<const double> preferences, const BudgetRequest& request, bool cascading);

/// CAKE's shares of `total` by preference, each clamped to `most` and the rest spread in order of layers (cakekv).
std::vector<std::int64_t> cake_shares(std::span<const double> preferences, std::int64_t total, std::int64_t most);

/// Every head of a layer keeps the layer's number.
Allocation uniform_heads(std::span<const std::int64_t> per_head, const BudgetRequest& request);

/// AdaKV's mix: `alpha` of the budget is each head's floor, the rest follows the layer-wide ranking.
struct AdaptiveHeads
{
    double alpha = 0;
    bool normalize = false; ///< weigh a head's scores by the share of its mass that its top entries hold
    /// Entries every head is given on top of (1 - alpha) of its count; from the layer's number.
    std::function<std::int64_t(std::int64_t)> floor;
    Precision precision = Precision::fp32; ///< of normalize's sums, shares and products
};

/// Head capacities rhe((1 - alpha) c_h + floor) in fp32, c_h = entries of head h among the layer's num_kv_heads * b
/// best (ties: lower head, then older entry); a layer whose number exceeds what exists keeps all (AdaKV and LAVa's
/// code).
Allocation adaptive_heads(std::span<const RankedLayer> layers, std::span<const std::int64_t> per_head,
    const BudgetRequest& request, const AdaptiveHeads& rule);

/// Entries of each head among the layer's `count` best after a head's scores were scaled. `sorted`: [num_kv_heads,
/// evictable], each head descending; `head_scale`: [num_kv_heads], or empty; `precision` of the products.
std::vector<std::int64_t> layer_wide_counts(std::span<const float> sorted, std::int64_t num_kv_heads,
    std::int64_t count, std::span<const double> head_scale, Precision precision = Precision::fp32);

/// Entries of each head among the model's `count` best, [num_layers * num_kv_heads]: all layers' scores in one ranking
/// (ties: lower layer, then lower head, then older entry).
std::vector<std::int64_t> model_wide_counts(
    std::span<const RankedLayer> layers, std::int64_t num_kv_heads, std::int64_t count);

/// Every head keeps its entries among the model's `count` best (Layer-DefensiveKV).
Allocation model_wide(std::span<const RankedLayer> layers, const BudgetRequest& request, std::int64_t count);

} // namespace lava
