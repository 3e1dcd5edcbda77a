#pragma once

#include "tests/analysis/example_report.h"

namespace lava {

/// Adds a closed loop of 3 steps to the example report, whose third budget keeps everything. Every cell answers with
/// token 300 + its budget's index, then with an end of sequence.
inline void add_example_closed_loop(ReplayReport& report)
{
    const std::size_t layers = 3, steps = 3;
    auto& dense = report.closed_loop;
    dense.input_ids = {7, 300, 302};
    dense.next_id = 7;
    dense.cross_entropy = {0.5, 0.25};
    dense.top_ids = {300, 302, 2};
    dense.resid_l1.assign(layers * steps, 80);
    dense.resid_l2.assign(layers * steps, 20);
    dense.generated_ids = {7, 302, 2};
    dense.generated_text = "4172.";
    dense.end_ids = {2};
    dense.token_ids = {2, 7, 300, 301, 302};
    dense.token_texts = {"</s>", " 4172", "\xe2\x96", "\x81", "."};
    for (auto& policy : report.policies) {
        auto& replay = policy.closed_loop;
        for (std::size_t g = 0; g < 3; ++g) {
            const auto loss = static_cast<double>(2 - g);
            replay.kl.insert(replay.kl.end(), {loss, loss / 2, 0});
            replay.cross_entropy.insert(replay.cross_entropy.end(), {0.5 + loss, 0.25 + loss});
            replay.top_ids.insert(replay.top_ids.end(), {300, g == 2 ? 302 : 301, 2});
            replay.drift_l1.insert(replay.drift_l1.end(), layers * steps, static_cast<float>(8 * loss));
            replay.drift_l2.insert(replay.drift_l2.end(), layers * steps, static_cast<float>(loss));
            replay.generated_ids.insert(replay.generated_ids.end(), {7, 300 + static_cast<std::int64_t>(g), 2});
            replay.generated_texts.push_back("4172" + dense.token_texts[2 + g]);
        }
    }
}

inline ReplayReport example_with_closed_loop()
{
    auto report = example_report();
    add_example_closed_loop(report);
    return report;
}

} // namespace lava
