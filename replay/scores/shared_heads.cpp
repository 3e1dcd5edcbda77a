#include "replay/scores/shared_heads.h"

#include <ATen/ATen.h>

namespace lava {

namespace {

// [heads, entries]: 0 for a head's best entry, ties to the older one.
at::Tensor places_of(const at::Tensor& scores)
{
    const auto order = at::argsort(scores, /*stable=*/true, 1, /*descending=*/true);
    const auto each = at::arange(scores.size(1), at::kLong).expand_as(order);
    return at::empty_like(order).scatter_(1, order, each);
}

} // namespace

SharedHeads parse_shared_heads(std::string_view name)
{
    return name == "mean" ? SharedHeads::mean : name == "max" ? SharedHeads::max : SharedHeads::together;
}

at::Tensor shared_scores(const at::Tensor& scores, SharedHeads how)
{
    const auto shared = how == SharedHeads::mean ? scores.mean(0, true)
        : how == SharedHeads::max                ? scores.amax(0, true)
                                                 : -places_of(scores).amin(0, true).to(at::kFloat);
    return shared.expand_as(scores);
}

} // namespace lava
