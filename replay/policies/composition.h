#pragma once

#include "replay/policies/registry.h"

// Policies that are a choice of compose's pieces: what the registry's row says, and what of it a spelling changes.

namespace lava {

/// Which piece the parameter sets. Compose may not have it: then it is a rule of the policy's own.
PieceName piece_of(const PolicyInfo& info, const std::string& parameter);

/// The parameter's default in the words of the policy: what the row's pieces say, or compose without them.
std::string default_in_composition(const PolicyInfo& info, const ParameterInfo& parameter);

/// What compose is told to be the same policy, "compose:pool=none,score=columns"; empty where it is more than a choice
/// of pieces.
std::string composition_of(const PolicySpec& spec);

/// All of compose's parameters as the policy has them, and behind them those that are rules of its own.
PolicyParams pieces_of(const PolicySpec& spec);

} // namespace lava
