#include "replay/policies/wrapper.h"

#include "base/error.h"
#include "replay/policies/registry.h"
#include "replay/scores/padding.h"

namespace lava {

Wrapper::Wrapper(const PolicyParams& params)
{
    const auto spec = parse_policy(params.text("base"));
    base_ = spec.make();
    if (base_->ignores_budget() || spec.info->name == "full") {
        throw UsageError("base: expected a policy that scores entries, found " + spec.canonical);
    }
    if (base_->constrains()) {
        throw UsageError("base: expected a policy whose scores say what it keeps, found " + spec.canonical
            + ", which goes around a wrapper, not into it");
    }
    if (spec.params.has("protect") && spec.params.text("protect") != "none") {
        throw UsageError("base: expected protect= outside the brackets, found " + spec.canonical);
    }
}

Wrapper::~Wrapper() = default;

LayerScores Wrapper::score(const LayerInputs& layer) const
{
    auto scores = base_->score(layer);
    return base_->ranks_by_budget() ? scores : wrap(whole_scores(scores.entries, layer.seq_len()));
}

LayerScores Wrapper::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    if (!base_->ranks_by_budget()) {
        return scores;
    }
    return wrap(base_entries(scores, request));
}

at::Tensor Wrapper::base_entries(const LayerScores& scores, const BudgetRequest& request) const
{
    auto of_base = request;
    of_base.window = base_->window();
    return whole_scores(base_->at_budget(scores, of_base).entries, request.seq_len);
}

ParameterInfo base_parameter(std::string default_value)
{
    return policy_parameter("base", std::move(default_value), "policy whose scores rank the entries");
}

at::Tensor whole_scores(const at::Tensor& entries, std::int64_t seq_len)
{
    return padded_on_top(entries, 0, seq_len - entries.size(1));
}

} // namespace lava
