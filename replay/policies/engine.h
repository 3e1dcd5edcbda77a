#pragma once

#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <memory>

namespace lava {

/// What an engine with paged memory can keep of another policy's choice: blocks of consecutive positions, of every head
/// that shares a table of them. Scores, budgets and everything else are the base's.
class Engine : public Policy
{
public:
    enum class Tables
    {
        sequence, ///< one for all layers and heads
        layer,
        head
    };

    /// Throws UsageError for a base that is told to protect entries: that stands outside the brackets.
    explicit Engine(const PolicyParams& params);
    ~Engine() override;

    std::int64_t window() const override { return base_->window(); }
    std::int64_t reserved() const override { return base_->reserved(); }
    std::int64_t query_rows() const override { return base_->query_rows(); }
    PolicyNeeds needs() const override { return base_->needs(); }
    bool compares_heads() const override { return base_->compares_heads(); }
    bool per_query_head() const override { return base_->per_query_head(); }
    bool ignores_budget() const override { return base_->ignores_budget(); }
    bool ranks_by_budget() const override { return base_->ranks_by_budget(); }
    bool scores_infinity() const override { return base_->scores_infinity(); }
    bool changes_values() const override { return base_->changes_values(); }
    bool constrains() const override { return true; }

    /// Throws Error where a block is longer than the prompt.
    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;
    void constrain(
        std::span<std::uint32_t> rankings, std::span<std::int64_t> counts, const BudgetRequest& request) const override;
    at::Tensor values(const LayerInputs& layer, const KeptEntries& kept) const override;

    static std::vector<ParameterInfo> parameters();

private:
    void constrain_table(
        std::span<std::uint32_t> rankings, std::span<std::int64_t> counts, const BudgetRequest& request) const;

    std::unique_ptr<Policy> base_;
    std::int64_t block_;
    Tables tables_;
    bool best_;
};

} // namespace lava
