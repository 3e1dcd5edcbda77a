#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"
#include "replay/scores/entry_scores.h"
#include "replay/scores/shared_heads.h"

#include <string>
#include <vector>

namespace lava {

/// How layers share the budget.
struct LayerRule
{
    enum class Kind
    {
        uniform,
        pyramid,
        entropy, ///< of the layer's scores (LAVa)
        preference, ///< CAKE
        model_wide, ///< where the model's best scores fall (Layer-DefensiveKV)
        table ///< a file
    };
    enum class Schedule
    {
        integer, ///< AdaKV's and LAVa's code
        kvcache_factory, ///< the same, but uniform for prompts shorter than twice the budget
        paper ///< real-valued, rounded down
    };

    Kind kind = Kind::uniform;
    Schedule schedule = Schedule::integer;
    std::int64_t beta = 20;
    std::int64_t first_prompt = 0; ///< tokens that an integer pyramid is computed for; 0: the trace's
    double tau1 = 1;
    double tau2 = 1;
    bool cascading = true;
    std::string table;
};

/// How the heads of a layer share its number.
struct HeadRule
{
    enum class Kind
    {
        uniform,
        layer_wide, ///< where the layer's best scores fall, with a floor of alpha
        shared ///< the same entries in every head
    };

    Kind kind = Kind::uniform;
    double alpha = 0;
    bool nominal_floor = false; ///< alpha of the nominal budget, window included (LAVa's released code)
    bool normalize = false;
    SharedHeads shared = SharedHeads::max;
};

/// Which entries are kept for being recent.
enum class Recent
{
    window, ///< the entries of the window
    half, ///< half of the budget, rounded down; as much goes to the best
    even ///< the entries of the window, inside twice the half
};

/// A policy as a choice of pieces.
struct Composition
{
    ScoreRule score;
    LayerRule layers;
    HeadRule heads;
    bool per_query_head = false;
    Recent recent = Recent::window;
};

/// compose:score=...,layers=...,heads=...: scores, then layers, then heads, in any combination.
class Composed : public Policy
{
public:
    /// `params` has all of parameters(). Throws UsageError for pieces that do not fit together.
    explicit Composed(const PolicyParams& params);

    std::int64_t window() const override { return composition_.score.window; }
    std::int64_t query_rows() const override;
    PolicyNeeds needs() const override;
    bool compares_heads() const override;
    bool per_query_head() const override { return composition_.per_query_head; }
    bool ranks_by_budget() const override { return composition_.recent == Recent::half; }
    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    double weight(const LayerInputs& layer, const at::Tensor& entries) const;
    std::vector<std::int64_t> layer_numbers(std::span<const RankedLayer> layers, const BudgetRequest& request) const;
    Allocation divide(
        std::span<const std::int64_t> numbers, std::span<const RankedLayer> layers, const BudgetRequest& request) const;
    Allocation cake(std::span<const RankedLayer> layers, const BudgetRequest& request) const;

    Composition composition_;
    std::vector<double> table_;
};

} // namespace lava
