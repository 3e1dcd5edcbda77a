#pragma once

#include "replay/losses/logit_loss.h"
#include "traces/trace.h"

#include <string>

namespace lava {

/// A sentence where the dense run does not predict what the trace records of its steps: logits, and in a greedy run the
/// next step's input. Empty where it does, to rounding. Tokens, logits, keys or values that are not of one run are
/// found so, and nothing else of a closed loop would show them.
std::string contradiction(const Trace& trace, const DensePredictions& dense);

} // namespace lava
