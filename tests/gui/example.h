#pragma once

#include "gui/sweep.h"
#include "tests/analysis/example_closed_loop.h"

namespace lava::gui {

inline SharedReport shared_example()
{
    auto report = example_report();
    report.file = "report.h5";
    return std::make_shared<const ReplayReport>(std::move(report));
}

/// The example as of a part of a larger model.
inline SharedReport shared_example_of_a_part()
{
    auto report = example_report();
    report.trace.layer_numbers = {7, 9, 10};
    report.trace.kv_head_numbers = {1, 4};
    return std::make_shared<const ReplayReport>(std::move(report));
}

inline SharedReport shared_example_with_closed_loop()
{
    auto report = example_report();
    add_example_closed_loop(report);
    return std::make_shared<const ReplayReport>(std::move(report));
}

/// The example with a fourth policy that keeps a cache for each of the four query heads: 3 + h entries of head h, the
/// newest; at larger budgets all.
inline SharedReport shared_example_with_query_heads()
{
    auto report = example_report();
    report.file = "report.h5";
    auto replay = report.policies[2];
    replay.policy = "compose:layout=query_head";
    replay.name = "compose";
    replay.parameters = {{"layout", "query_head"}};
    replay.cache_heads = 4;
    replay.counts.assign(3 * 3 * 4, 24);
    replay.ranking.clear();
    for (std::size_t head = 0; head < 3 * 4; ++head) {
        replay.counts[head] = static_cast<std::int64_t>(3 + head % 4);
        for (std::uint32_t rank = 0; rank < 24; ++rank)
            replay.ranking.push_back(23 - rank);
    }
    report.policies.push_back(std::move(replay));
    return std::make_shared<const ReplayReport>(std::move(report));
}

inline SharedReport shared_example_without_losses()
{
    return std::make_shared<const ReplayReport>(example_report_without_losses());
}

/// The example's third policy cut down to its middle budget, 12 (moved to `budget`), as a set from elsewhere has it.
inline PolicyReplay single_budget(const ReplayReport& report, std::int64_t budget)
{
    auto replay = report.policies[2];
    replay.policy = "external:file=kept.json";
    const auto keep_middle = [](auto& values) {
        const auto size = static_cast<std::ptrdiff_t>(values.size() / 3);
        values = {values.begin() + size, values.begin() + 2 * size};
    };
    replay.budgets = {budget};
    keep_middle(replay.asked);
    keep_middle(replay.granted);
    keep_middle(replay.counts);
    keep_middle(replay.head_l1);
    keep_middle(replay.head_output_l1);
    keep_middle(replay.head_output_l2);
    keep_middle(replay.attn_out_l1);
    keep_middle(replay.attn_out_l2);
    keep_middle(replay.bound_lava);
    keep_middle(replay.bound_adakv);
    keep_middle(replay.bound_projected);
    return replay;
}

inline SharedReport shared_example_with_external(std::int64_t budget)
{
    auto report = example_report();
    report.policies.push_back(single_budget(report, budget));
    return std::make_shared<const ReplayReport>(std::move(report));
}

} // namespace lava::gui
