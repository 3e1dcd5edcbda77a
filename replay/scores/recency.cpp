#include "replay/scores/recency.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace lava {

at::Tensor sinks_and_recency(std::int64_t heads, std::int64_t tokens, std::int64_t sinks)
{
    auto recency = at::arange(tokens, at::kFloat);
    recency.narrow(0, 0, std::min(sinks, tokens)).fill_(std::numeric_limits<float>::max());
    return recency.expand({heads, tokens});
}

} // namespace lava
