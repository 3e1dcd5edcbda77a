// What paged memory keeps: blocks that heads share, and one set for all heads of a layer.

#include "replay/policies/engine.h"

#include "analysis/selection.h"
#include "analysis/statistics.h"
#include "base/error.h"
#include "replay/policies/registry.h"
#include "replay/replay.h"
#include "replay/scores/shared_heads.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

namespace lava {
namespace {

using ::testing::HasSubstr;
using testing::small_options;
using ::testing::ThrowsMessage;

using Sets = std::map<std::pair<std::int64_t, std::int64_t>, std::set<std::int64_t>>; // of layer and head

Sets sets_of(const Cell& cell)
{
    Sets sets;
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        for (std::int64_t head = 0; head < cell.replay().cache_heads; ++head) {
            const auto kept = kept_positions(cell, {layer, head});
            sets[{layer, head}] = {kept.begin(), kept.end()};
        }
    }
    return sets;
}

// Which heads share a table, told by a number.
std::int64_t table_of(const std::string& tables, std::int64_t layer, std::int64_t head)
{
    return tables == "sequence" ? 0 : tables == "layer" ? layer : layer * 100 + head;
}

// Straight from the definitions: every block of a table by itself, over 200 positions.
Sets in_blocks(const Sets& base, std::int64_t block, const std::string& tables, bool best, std::int64_t window)
{
    std::map<std::int64_t, std::map<std::int64_t, std::int64_t>> entries; // of a table: of a block
    std::map<std::int64_t, std::int64_t> total, heads;
    for (const auto& [head, positions] : base) {
        const auto table = table_of(tables, head.first, head.second);
        ++heads[table];
        for (const auto position : positions) {
            ++entries[table][position / block];
            ++total[table];
        }
    }
    for (auto& [table, blocks] : entries) {
        if (!best) {
            continue;
        }
        std::vector<std::pair<std::int64_t, std::int64_t>> order; // fullest first, those of the window before all
        for (std::int64_t b = 0; b * block < 200; ++b) {
            const bool of_window = window > 0 && std::min((b + 1) * block, std::int64_t{200}) > 200 - window;
            order.emplace_back(-(of_window ? 1'000'000 : 0) - blocks[b], b);
        }
        std::sort(order.begin(), order.end());
        blocks.clear();
        std::int64_t positions = 0;
        for (const auto& [fullness, b] : order) {
            positions += std::min(block, 200 - b * block);
            if (positions * heads[table] <= total[table] || fullness <= -1'000'000 || blocks.empty()) {
                blocks[b] = 1;
            }
        }
    }
    Sets sets;
    for (const auto& [head, positions] : base) {
        auto& kept = sets[head];
        for (const auto& [b, count] : entries[table_of(tables, head.first, head.second)]) {
            for (auto position = b * block; position < std::min((b + 1) * block, std::int64_t{200}); ++position) {
                kept.insert(position);
            }
        }
    }
    return sets;
}

class EnginePolicy : public ::testing::Test
{
protected:
    EnginePolicy() { synthesize_trace(small_options(), trace_); }

    ReplayReport run(const std::string& policy, const std::string& budgets, BudgetMatch match) const
    {
        ReplayOptions options;
        options.policies = {parse_policy(policy)};
        options.budgets = budgets;
        options.match = match;
        return replay(Trace(trace_), options);
    }

    TemporaryFolder folder_;
    std::filesystem::path trace_ = folder_ / "trace.h5";
};

TEST_F(EnginePolicy, KeepsTheBlocksThatTheDefinitionsSay)
{
    const std::string budgets = "40,77,199";
    for (const std::string base : {"snapkv", "lava", "h2o@official", "knorm"}) {
        const auto plain = run(base, budgets, BudgetMatch::nominal);
        const auto window = plain.policies.front().window;
        for (const std::string tables : {"sequence", "layer", "head"}) {
            for (const std::string keep : {"any", "best"}) {
                for (const std::int64_t block : {7, 16, 200}) {
                    const auto name = "engine:base=[" + base + "],block=" + std::to_string(block) + ",tables=" + tables
                        + ",keep=" + keep;
                    const auto report = run(name, budgets, BudgetMatch::nominal);
                    ASSERT_EQ(report.policies.front().budgets, plain.policies.front().budgets);
                    for (std::size_t g = 0; g < 3; ++g) {
                        const auto expected = in_blocks(sets_of({plain, 0, g}), block, tables, keep == "best", window);
                        ASSERT_EQ(sets_of({report, 0, g}), expected) << name << " at " << g;
                    }
                }
            }
        }
    }
}

TEST_F(EnginePolicy, BlocksOfOneEntryOfEachHeadAreTheBaseItself)
{
    const auto base = run("lava", "50,100,200", BudgetMatch::nominal);
    const auto engine = run("engine:base=lava,block=1,tables=head", "50,100,200", BudgetMatch::nominal);
    for (std::size_t g = 0; g < 3; ++g) {
        EXPECT_EQ(sets_of({base, 0, g}), sets_of({engine, 0, g}));
        const auto expected = losses(Cell{base, 0, g})->attn_out_l1;
        EXPECT_NEAR(losses(Cell{engine, 0, g})->attn_out_l1, expected, 1e-5 * expected); // summed in another order
    }
}

// 33 to `last`, with commas between.
std::string budgets_to(std::int64_t last)
{
    std::string budgets = "33";
    for (std::int64_t budget = 34; budget <= last; ++budget) {
        budgets += "," + std::to_string(budget);
    }
    return budgets;
}

TEST_F(EnginePolicy, IsComparedAtEqualRetention)
{
    const auto name = "engine:base=snapkv,block=4,tables=layer";
    const auto matched = run(name, "60,100,200", BudgetMatch::retained);
    ASSERT_EQ(matched.policies.size(), 1U);
    const auto all = run(name, budgets_to(200), BudgetMatch::nominal);
    std::vector<std::int64_t> totals; // at every budget from 33 on
    for (std::size_t g = 0; g < all.policies.front().budgets.size(); ++g) {
        totals.push_back(retained({all, 0, g}));
    }
    ASSERT_TRUE(std::is_sorted(totals.begin(), totals.end()));
    for (const std::size_t g : {0U, 1U, 2U}) {
        const auto target = matched.policies.front().asked[g];
        const auto nearest = std::min_element(totals.begin(), totals.end(),
            [&](std::int64_t a, std::int64_t b) { return std::abs(a - target) < std::abs(b - target); });
        EXPECT_EQ(retained({matched, 0, g}), *nearest);
        EXPECT_EQ(matched.policies.front().nominal[g], 33 + (nearest - totals.begin())); // of equal ones the smallest
        EXPECT_LT(matched.policies.front().nominal[g], matched.policies.front().budgets[g]);
    }
    const auto both = run(name, "60,100,200", BudgetMatch::both);
    ASSERT_EQ(both.policies.size(), 2U);
    for (const std::size_t g : {0U, 1U, 2U}) {
        EXPECT_EQ(sets_of({both, 1, g}), sets_of({matched, 0, g}));
        EXPECT_EQ(losses(Cell{both, 1, g})->attn_out_l1, losses(Cell{matched, 0, g})->attn_out_l1);
    }
}

TEST_F(EnginePolicy, RefusesWhatDoesNotFit)
{
    EXPECT_THAT([&] { run("engine:block=201", "60", BudgetMatch::nominal); },
        ThrowsMessage<Error>("engine: block: expected at most the prompt's 200 tokens, found 201"));
    EXPECT_THAT([] { parse_policy("engine:base=[snapkv:protect=first:4]").make(); },
        ThrowsMessage<UsageError>(HasSubstr("base: expected protect= outside the brackets")));
    EXPECT_THAT([] { parse_policy("ada:base=[engine:block=8]").make(); },
        ThrowsMessage<UsageError>(HasSubstr("goes around a wrapper, not into it")));
    EXPECT_THAT([] { parse_policy("compose:layers=model,heads=shared,shared=union").make(); },
        ThrowsMessage<UsageError>(HasSubstr("shared: expected mean or max")));
    EXPECT_THROW(parse_policy("engine:block=0"), UsageError);
}

TEST(SharedScores, AreThoseOfAllHeads)
{
    const auto scores = at::tensor({1.0F, 4.0F, 2.0F, 3.0F, 8.0F, 0.0F, 2.0F, 4.0F}).view({2, 4});
    const auto row = [&](SharedHeads how) {
        const auto shared = shared_scores(scores, how);
        EXPECT_TRUE(at::equal(shared[0], shared[1]));
        return shared[0];
    };
    EXPECT_TRUE(at::equal(row(SharedHeads::mean), at::tensor({4.5F, 2.0F, 2.0F, 3.5F})));
    EXPECT_TRUE(at::equal(row(SharedHeads::max), at::tensor({8.0F, 4.0F, 2.0F, 4.0F})));
    // places 3 0 2 1 and 0 3 2 1
    EXPECT_TRUE(at::equal(row(SharedHeads::together), at::tensor({0.0F, 0.0F, -2.0F, -1.0F})));
}

TEST_F(EnginePolicy, HeadsThatShareKeepOneSetOfAsManyEntries)
{
    for (const std::string how : {"union", "mean", "max"}) {
        for (const std::string policy : {"compose:layers=pyramid,heads=shared,shared=", "ada:heads=shared,shared="}) {
            const auto report = run(policy + how, "50,100", BudgetMatch::nominal);
            const auto plain = run(policy.front() == 'c' ? "pyramidkv" : "snapkv", "50,100", BudgetMatch::nominal);
            for (const std::size_t g : {0U, 1U}) {
                const auto sets = sets_of({report, 0, g});
                for (const auto& [head, kept] : sets) {
                    EXPECT_EQ(kept, sets.at({head.first, 0})) << policy << how;
                    EXPECT_EQ(kept.size(), sets_of({plain, 0, g}).at(head).size()) << policy << how;
                }
            }
        }
    }
}

TEST_F(EnginePolicy, AUnionHoldsWhatEveryHeadKeepsAtASmallerBudget)
{
    const auto shared = run("compose:heads=shared,shared=union", "100", BudgetMatch::nominal);
    const auto plain = run("snapkv", budgets_to(100), BudgetMatch::nominal);
    const auto sets = sets_of({shared, 0, 0});
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        std::set<std::int64_t> largest; // union of the heads' sets that still fits
        for (std::size_t g = 0; g < plain.policies.front().budgets.size(); ++g) {
            const auto of_heads = sets_of({plain, 0, g});
            auto both = of_heads.at({layer, 0});
            both.insert(of_heads.at({layer, 1}).begin(), of_heads.at({layer, 1}).end());
            if (both.size() <= 100) {
                largest = both;
            }
        }
        const auto& found = sets.at({layer, 0});
        EXPECT_EQ(found.size(), 100U);
        EXPECT_TRUE(std::includes(found.begin(), found.end(), largest.begin(), largest.end()));
        EXPECT_GE(largest.size(), 98U); // a budget more would add one entry of each head
    }
}

} // namespace
} // namespace lava
