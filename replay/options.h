#pragma once

#include "replay/policies/policy_list.h"
#include "replay/replay.h"

#include <filesystem>
#include <string>
#include <vector>

namespace lava {

/// The command line of lava-replay.
struct ReplayCommand
{
    enum class Action
    {
        replay,
        list_policies,
        print_text
    };

    Action action = Action::replay;
    std::string text; ///< of --help or --version
    PolicyListFormat list_format = PolicyListFormat::text;
    std::filesystem::path trace;
    std::vector<PolicySpec> policies;
    std::string budgets;
    std::filesystem::path output; ///< report.h5; may be empty where csv or json is given
    std::filesystem::path csv;
    std::filesystem::path json;
    int threads = 1;
    BudgetMatch match = BudgetMatch::both;
    Rankings rankings = Rankings::kept;
    bool verify = true;
    std::string device = "cpu";
    std::filesystem::path model; ///< checkpoint folder of the trace's model; empty where not needed
    bool closed_loop = false; ///< let the model decode from every evicted cache
    std::int64_t steps = 0; ///< of the closed loop; 0: as many as the trace records
    bool layer_output = true; ///< losses of layer outputs, where a model is given
    bool free = false; ///< of the closed loop: every cell answers by itself, too
    std::int64_t answer_length = 0; ///< tokens of such an answer; 0: as the trace says
};

/// Throws UsageError.
ReplayCommand parse_options(int argc, const char* const* argv);

} // namespace lava
