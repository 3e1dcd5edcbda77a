#include "replay/policies/keydiff.h"

#include "replay/scores/key_scores.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

namespace {

// Which tokens are left when every block has competed: [heads, kept]. k: [heads, tokens, head_dim]
at::Tensor kept_by_blocks(const at::Tensor& k, std::int64_t kept, std::int64_t block)
{
    const auto heads = k.size(0);
    const auto tokens = k.size(1);
    auto indices = at::arange(kept, at::kLong).expand({heads, kept});
    for (auto begin = kept; begin < tokens; begin += block) {
        const auto end = std::min(begin + block, tokens);
        const auto rivals = at::arange(begin, end, at::kLong).expand({heads, end - begin});
        const auto all = std::get<0>(at::cat({indices, rivals}, 1).sort(1)); // ties go to the older
        const auto keys = k.gather(1, all.unsqueeze(2).expand({heads, all.size(1), k.size(2)}));
        const auto order = at::argsort(key_difference_scores(keys), /*stable=*/true, 1, /*descending=*/true);
        indices = all.gather(1, order.narrow(1, 0, kept));
    }
    return indices;
}

} // namespace

LayerScores KeyDiff::score(const LayerInputs& layer) const
{
    auto scores = Composed::score(layer);
    if (block_ > 0) {
        scores.parts = {layer.k()};
    }
    return scores;
}

LayerScores KeyDiff::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    if (block_ == 0) {
        return scores;
    }
    const auto kept = kept_by_blocks(scores.parts.front(), request.budget, block_);
    return {at::zeros_like(scores.entries).scatter_(1, kept, 1.0)};
}

} // namespace lava
