#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace lava {

/// How the heads of a layer become one, so that they keep the same entries.
enum class SharedHeads
{
    together, ///< the entry's best place in any head's order: as many entries as fit of what any head would keep
    mean, ///< of the heads' scores
    max
};

/// "union", "mean" or "max".
SharedHeads parse_shared_heads(std::string_view name);

/// [heads, entries]: the same scores for every head, from those of all of them.
at::Tensor shared_scores(const at::Tensor& scores, SharedHeads how);

} // namespace lava
