#pragma once

#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <memory>

namespace lava {

/// A policy around the scores of another: base=NAME or base=[NAME:KEY=VALUE,...]. Only the base's scores count; its
/// window, if it keeps one, ranks above all other entries, as in kvpress.
class Wrapper : public Policy
{
public:
    /// Throws UsageError for a base that scores nothing, or that is told to protect entries: that is the wrapper's.
    explicit Wrapper(const PolicyParams& params);
    ~Wrapper() override;

    std::int64_t query_rows() const override { return base_->query_rows(); }
    PolicyNeeds needs() const override { return base_->needs(); }
    bool per_query_head() const override { return base_->per_query_head(); }
    bool ranks_by_budget() const override { return base_->ranks_by_budget(); }

    bool scores_infinity() const override { return base_->scores_infinity(); }

    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;

protected:
    /// What the policy makes of the base's scores [num_kv_heads, seq_len].
    virtual LayerScores wrap(const at::Tensor& scores) const = 0;

    const Policy& base() const { return *base_; }

    /// [num_kv_heads, seq_len]: the base's scores at a budget, from what its score() gave.
    at::Tensor base_entries(const LayerScores& scores, const BudgetRequest& request) const;

private:
    std::unique_ptr<Policy> base_;
};

/// base=, `default_value` unless told otherwise.
ParameterInfo base_parameter(std::string default_value = "snapkv");

/// [num_kv_heads, seq_len]: a policy's scores with those of its window, which it never evicts: the layer's largest plus
/// 1 (kvpress).
at::Tensor whole_scores(const at::Tensor& entries, std::int64_t seq_len);

} // namespace lava
