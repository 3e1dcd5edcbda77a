#include "replay/policies/engine.h"

#include "base/error.h"
#include "base/sizes.h"
#include "replay/policies/registry.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <string>

namespace lava {

namespace {

using Blocks = std::vector<std::int64_t>;

Engine::Tables tables_of(const std::string& name)
{
    return name == "sequence" ? Engine::Tables::sequence
        : name == "layer"     ? Engine::Tables::layer
                              : Engine::Tables::head;
}

// How many entries of each block the heads of a table retain. rankings: [heads, seq_len]; counts: [heads]
Blocks retained_of_blocks(std::span<const std::uint32_t> rankings, std::span<const std::int64_t> counts,
    std::int64_t seq_len, std::int64_t block)
{
    Blocks retained(index(ceil_divide(seq_len, block)));
    const KeptEntries kept{rankings, counts};
    for (std::int64_t head = 0; head < std::ssize(counts); ++head) {
        for (const auto entry : kept.of(head)) {
            ++retained[static_cast<std::size_t>(entry / block)];
        }
    }
    return retained;
}

// Leaves the fullest blocks, of equal ones the older, whose positions are at most `most`: all that hold a part of the
// window, which begins at `first_of_window`, before any other, and at least one.
void keep_fullest(Blocks& retained, std::int64_t most, const BudgetRequest& request, std::int64_t block)
{
    const auto first_of_window = request.window > 0 ? request.evictable() / block : std::ssize(retained);
    std::vector<std::int64_t> order(retained.size());
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const auto comes_first = [&](std::int64_t index) {
        return std::pair(index >= first_of_window, retained[static_cast<std::size_t>(index)]);
    };
    std::ranges::stable_sort(order, std::ranges::greater(), comes_first);
    std::int64_t positions = 0;
    for (const auto index : order) {
        const bool must_stay = index >= first_of_window || positions == 0;
        positions += std::min(block, request.seq_len - index * block);
        if (positions > most && !must_stay) {
            retained[static_cast<std::size_t>(index)] = 0;
        }
    }
}

} // namespace

Engine::Engine(const PolicyParams& params)
    : block_(params.integer("block"))
    , tables_(tables_of(params.text("tables")))
    , best_(params.text("keep") == "best")
{
    const auto spec = parse_policy(params.text("base"));
    base_ = spec.make();
    if (spec.params.has("protect") && spec.params.text("protect") != "none") {
        throw UsageError("base: expected protect= outside the brackets, found " + spec.canonical);
    }
}

Engine::~Engine() = default;

LayerScores Engine::score(const LayerInputs& layer) const
{
    if (block_ > layer.seq_len()) {
        throw Error("engine: block: expected at most the prompt's " + std::to_string(layer.seq_len())
            + " tokens, found " + std::to_string(block_));
    }
    return base_->score(layer);
}

LayerScores Engine::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    return base_->at_budget(scores, request);
}

Allocation Engine::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    return base_->allocate(layers, request);
}

at::Tensor Engine::values(const LayerInputs& layer, const KeptEntries& kept) const
{
    return base_->values(layer, kept);
}

void Engine::constrain(
    std::span<std::uint32_t> rankings, std::span<std::int64_t> counts, const BudgetRequest& request) const
{
    base_->constrain(rankings, counts, request);
    const auto heads = static_cast<std::size_t>(tables_ == Tables::sequence ? request.heads()
            : tables_ == Tables::layer                                      ? request.shape.num_kv_heads
                                                                            : 1);
    const auto size = heads * static_cast<std::size_t>(request.seq_len);
    for (std::size_t first = 0; first < counts.size(); first += heads) {
        constrain_table(rankings.subspan(first / heads * size, size), counts.subspan(first, heads), request);
    }
}

// rankings: [heads of the table, seq_len]; counts: [heads of the table]
void Engine::constrain_table(
    std::span<std::uint32_t> rankings, std::span<std::int64_t> counts, const BudgetRequest& request) const
{
    auto retained = retained_of_blocks(rankings, counts, request.seq_len, block_);
    if (best_) {
        keep_fullest(retained, sum_of(counts) / std::ssize(counts), request, block_);
    }
    const auto stays = [&](std::uint32_t entry) { return retained[static_cast<std::size_t>(entry / block_)] > 0; };
    for (std::size_t head = 0; head < counts.size(); ++head) {
        const auto ranking = rankings.subspan(
            head * static_cast<std::size_t>(request.seq_len), static_cast<std::size_t>(request.seq_len));
        const auto end = std::stable_partition(ranking.begin(), ranking.end(), stays);
        counts[head] = end - ranking.begin();
    }
}

std::vector<ParameterInfo> Engine::parameters()
{
    return {policy_parameter("base", "snapkv", "policy whose choice is kept as far as blocks can"),
        integer_parameter("block", 16, 1, 1 << 30, "consecutive positions that are kept or freed together"),
        choice_parameter("tables", "layer", {"sequence", "layer", "head"},
            "which heads keep the same blocks: those of all layers, of a layer, or each its own"),
        choice_parameter("keep", "any", {"any", "best"},
            "every block with an entry that any of them retains, or the fullest blocks within the memory of these "
            "entries")};
}

} // namespace lava
