#pragma once

#include "analysis/replay_report.h"
#include "compute/device.h"
#include "replay/policies/registry.h"
#include "traces/trace.h"

#include <functional>
#include <string>
#include <vector>

namespace lava {

/// What a budget is compared by (method: section 3.2).
enum class BudgetMatch
{
    nominal, ///< every policy's rule is given the budget
    retained, ///< its rule is given the whole number whose retained total is nearest to the budget's
    both ///< one beside the other, where they differ
};

class Decoder;

struct ReplayOptions
{
    std::vector<PolicySpec> policies; ///< empty: default_policies() that the trace can serve
    std::string budgets; ///< parse_budgets; empty: default_budgets
    int threads = 1;
    BudgetMatch match = BudgetMatch::nominal;
    bool verify = true; ///< check the trace against itself before any loss is computed
    const Decoder* model = nullptr; ///< the trace's model, for the losses of layer outputs; null: without them
    std::reference_wrapper<const Device> device = cpu_device(); ///< does the hot loops
};

/// What a replay tells while it runs. Notes are sentences for stderr; `step` is called once per layer and pass.
struct ReplayObserver
{
    std::function<void(const std::string&)> note = [](const std::string&) {};
    std::function<void(long)> begin = [](long) {}; ///< number of steps to come
    std::function<void()> step = [] {};
};

/// Replays every policy at every budget over a trace: one pass ranks, one pass measures. Deterministic for any number
/// of threads. Throws Error where a policy and the trace do not fit, the trace does not verify, or a bound is violated;
/// UsageError for a budget below 1.
ReplayReport replay(const Trace& trace, const ReplayOptions& options, const ReplayObserver& observer = {});

} // namespace lava
