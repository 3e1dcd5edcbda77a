#include "analysis/tables.h"

#include "analysis/gain.h"
#include "analysis/selection.h"
#include "analysis/summary.h"
#include "base/error.h"
#include "tests/analysis/example_closed_loop.h"
#include "tests/analysis/table_cell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace lava {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> names(const Table& table)
{
    std::vector<std::string> result;
    for (const Column& column : table.columns)
        result.push_back(column.name);
    return result;
}

std::vector<std::string> split(const std::string& text, char separator)
{
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);)
        parts.push_back(part);
    return parts;
}

/// A text table's line without its runs of blanks.
std::vector<std::string> words(const std::string& line)
{
    std::istringstream stream(line);
    return {std::istream_iterator<std::string>(stream), {}};
}

/// The key columns that every table begins with, then `others`.
std::vector<std::string> keys_and(std::vector<std::string> others)
{
    const std::vector<std::string> keys
        = {"report", "prompt_id", "seq_len", "policy", "match", "budget", "budget_share", "nominal"};
    others.insert(others.begin(), keys.begin(), keys.end());
    return others;
}

TEST(Tables, NameTheirColumnsAlikeEverywhere)
{
    const ReplayReport report = example_report();
    const auto cells = all_cells(report);
    EXPECT_EQ(names(comparison_table(cells)),
        keys_and({"asked", "granted", "retained", "head_l1", "head_output_l1", "head_output_l1_relative",
            "head_output_l2", "head_output_l2_relative", "attn_out_l1", "attn_out_l1_relative", "attn_out_l2",
            "attn_out_l2_relative", "layer_out_l1", "layer_out_l1_relative", "layer_out_l2", "layer_out_l2_relative",
            "bound_lava", "bound_adakv", "bound_projected", "tightness_lava", "tightness_adakv", "tightness_projected",
            "survival_haystack", "global_eviction_haystack", "survival_needle", "global_eviction_needle",
            "survival_question", "global_eviction_question", "kl", "cross_entropy", "top1_agreement",
            "drift_l1_relative", "drift_l2_relative", "kl_all_steps", "answer_steps", "answer"}));
    EXPECT_EQ(names(head_table(cells)),
        keys_and({"layer", "head", "kv_head", "retained", "head_l1", "head_output_l1", "head_output_l1_relative",
            "head_output_l2", "head_output_l2_relative"}));
    EXPECT_EQ(names(budget_table(cells)), keys_and({"layer", "kv_head", "retained"}));
    EXPECT_EQ(names(budget_map(cells)), keys_and({"layer", "0", "1"}));
    for (const Detail detail : {Detail::run, Detail::layer}) {
        EXPECT_EQ(names(bound_table(cells, detail)),
            keys_and({"layer", "attn_out_l1", "bound_lava", "bound_adakv", "bound_projected", "tightness_lava",
                "tightness_adakv", "tightness_projected"}));
    }
    for (const Detail detail : {Detail::run, Detail::layer, Detail::head}) {
        EXPECT_EQ(names(span_table(cells, detail)),
            keys_and({"span", "begin", "end", "layer", "kv_head", "survival", "global_eviction"}));
    }
}

TEST(Tables, HaveTheSameColumnsWhateverTheReports)
{
    const ReplayReport plain = example_report();
    ReplayReport rich = example_report();
    add_example_closed_loop(rich);
    rich.policies[0].match = "retained";
    rich.policies[0].nominal = {5, 11, 23};
    std::vector<ReplayReport> several = {rich, plain};
    several[1].trace.seq_len = 24;
    const auto few = all_cells(plain);
    const auto many = select_cells(several, {});
    EXPECT_EQ(names(comparison_table(few)), names(comparison_table(many)));
    EXPECT_EQ(names(layer_table(few)), names(layer_table(many)));
    EXPECT_EQ(names(head_table(few)), names(head_table(many)));
    EXPECT_EQ(names(budget_table(few)), names(budget_table(many)));
    EXPECT_EQ(names(summary_table(few)), names(summary_table(many, {"", "snapkv:window=4", true})));
    const Table table = comparison_table(many);
    EXPECT_EQ(at(table, 1, "prompt_id"), Value("example"));
    EXPECT_EQ(at(table, 1, "seq_len"), Value(std::int64_t{24}));
    EXPECT_EQ(at(table, 1, "budget_share"), Value(0.5));
    EXPECT_EQ(at(table, 1, "nominal"), Value(std::int64_t{11}));
    EXPECT_EQ(at(comparison_table(few), 1, "nominal"), Value(std::int64_t{12}));
    EXPECT_EQ(at(comparison_table(few), 1, "match"), Value("nominal"));
    EXPECT_THAT(to_text(comparison_table(few)), StartsWith("policy"));
    EXPECT_THAT(split(to_text(comparison_table(few)), '\n')[0],
        Not(AnyOf(HasSubstr("nominal"), HasSubstr("kl"), HasSubstr("seq_len"))));
}

TEST(Tables, ShowTheLayersThatAreAskedFor)
{
    const ReplayReport report = example_report();
    const std::vector<Cell> cells = {{report, 2, 1}};
    const std::vector<std::int64_t> layers = {2, 0};
    const Table table = layer_table(cells, layers);
    ASSERT_EQ(table.rows.size(), 2U);
    EXPECT_EQ(at(table, 0, "layer"), Value(std::int64_t{2}));
    EXPECT_EQ(head_table(cells, layers).rows.size(), 8U);
    EXPECT_EQ(budget_table(cells, layers).rows.size(), 4U);
    EXPECT_EQ(budget_map(cells, layers).rows.size(), 2U);
    EXPECT_EQ(bound_table(cells, Detail::layer, layers).rows.size(), 2U);
    EXPECT_EQ(span_table(cells, Detail::head, layers).rows.size(), 3U * 4);
    EXPECT_THROW(layer_table(cells, std::vector<std::int64_t>{3}), Error);
}

TEST(Tables, ShowTheNumbersOfTheStatistics)
{
    const ReplayReport report = example_report();
    const auto cells = all_cells(report);
    const Cell lava{report, 2, 1};
    const Table runs = comparison_table(cells);
    EXPECT_EQ(at(runs, 7, "policy"), Value("lava:window=4"));
    EXPECT_EQ(at(runs, 7, "retained"), Value(std::int64_t{72}));
    EXPECT_EQ(at(runs, 7, "attn_out_l1_relative"), Value(losses(lava)->ratio.attn_out_l1));
    EXPECT_EQ(at(runs, 7, "survival_needle"), Value(span_survival(lava, report.trace.spans[1])));
    EXPECT_EQ(at(runs, 7, "global_eviction_needle"), Value(global_eviction_ratio(lava, report.trace.spans[1])));
    const Table layers = layer_table(cells);
    ASSERT_EQ(layers.rows.size(), 27U);
    EXPECT_EQ(at(layers, 7 * 3 + 1, "retained"), Value(std::int64_t{30}));
    EXPECT_EQ(at(layers, 7 * 3 + 1, "share"), Value(30.0 / 72));
    EXPECT_EQ(at(layers, 7 * 3 + 1, "bound_adakv"), Value(losses(lava, 1)->bound_adakv));
    const Table heads = head_table(cells);
    ASSERT_EQ(heads.rows.size(), 9U * 12);
    EXPECT_EQ(at(heads, 7 * 12 + 6, "kv_head"), Value(std::int64_t{1}));
    EXPECT_EQ(at(heads, 7 * 12 + 6, "retained"), Value(std::int64_t{13}));
    EXPECT_EQ(at(heads, 7 * 12 + 6, "head_l1"), Value(head_losses(lava, 1, 2)->head_l1));
    EXPECT_EQ(at(budget_table(cells), 7 * 6 + 2, "retained"), Value(std::int64_t{17}));
    EXPECT_EQ(at(budget_map(cells), 7 * 3 + 1, "0"), Value(std::int64_t{71})); // 17 of 24
    EXPECT_EQ(at(budget_map(cells), 7 * 3 + 1, "1"), Value(std::int64_t{54})); // 13
    EXPECT_EQ(at(bound_table(cells, Detail::run), 7, "tightness_lava"), Value(losses(lava)->ratio.bound_lava));
    EXPECT_EQ(at(bound_table(cells, Detail::layer), 22, "bound_lava"), Value(losses(lava, 1)->bound_lava));
}

TEST(Tables, NumberLayersAndHeadsAsTheModelDoes)
{
    ReplayReport report = example_report();
    report.trace.layer_numbers = {3, 4, 8};
    report.trace.kv_head_numbers = {1, 6};
    const Table heads = head_table(all_cells(report)); // 3 layers, 4 query heads, 2 KV heads
    EXPECT_EQ(at(heads, 11, "layer"), Value(std::int64_t{8}));
    EXPECT_EQ(at(heads, 11, "head"), Value(std::int64_t{13}));
    EXPECT_EQ(at(heads, 11, "kv_head"), Value(std::int64_t{6}));
    EXPECT_EQ(at(budget_table(all_cells(report)), 2, "layer"), Value(std::int64_t{4}));
}

TEST(Tables, BreakSpansDownAsFarAsAsked)
{
    const ReplayReport report = example_report();
    const Cell cell{report, 2, 1};
    const std::vector<Cell> cells = {cell};
    const Span& needle = report.trace.spans[1];
    EXPECT_EQ(span_table(cells, Detail::run).rows.size(), 3U);
    EXPECT_EQ(at(span_table(cells, Detail::run), 1, "survival"), Value(span_survival(cell, needle)));
    EXPECT_EQ(span_table(cells, Detail::layer).rows.size(), 9U);
    EXPECT_EQ(at(span_table(cells, Detail::layer), 5, "survival"), Value(span_survival(cell, needle, 2)));
    EXPECT_EQ(span_table(cells, Detail::head).rows.size(), 18U);
    EXPECT_EQ(at(span_table(cells, Detail::head), 9, "survival"), Value(span_survival(cell, needle, HeadId{1, 1})));
}

TEST(Tables, AgreeInTextCsvAndJson)
{
    const ReplayReport report = example_report();
    const Table table = comparison_table(all_cells(report));
    const auto csv = split(to_csv(table), '\n');
    const auto text = split(to_text(table), '\n');
    const auto json = nlohmann::json::parse(to_json(table));
    ASSERT_EQ(csv.size(), 10U);
    ASSERT_EQ(text.size(), 10U);
    ASSERT_EQ(json.size(), 9U);
    const auto header = split(csv[0], ',');
    ASSERT_EQ(header, names(table));
    const auto shown = words(text[0]);
    for (std::size_t row = 0; row < 9; ++row) {
        const auto cells = split(csv[row + 1], ',');
        const auto seen = words(text[row + 1]);
        EXPECT_EQ(cells[3], json[row]["policy"]);
        for (std::size_t column = 0; column < header.size(); ++column) {
            const auto& value = json[row][header[column]];
            if (value.is_number()) {
                EXPECT_EQ(std::stod(cells[column]), value.get<double>()) << header[column];
            } else if (column < cells.size()) {
                EXPECT_EQ(cells[column], value.is_null() ? "" : value.get<std::string>()) << header[column];
            }
        }
        for (std::size_t column = 1; column < shown.size(); ++column) {
            char expected[32];
            std::snprintf(expected, sizeof expected, "%.4g", json[row][shown[column]].get<double>());
            EXPECT_EQ(seen[column], expected) << shown[column];
        }
    }
}

TEST(Tables, LeaveMissingLossesOpen)
{
    const ReplayReport report = example_report_without_losses();
    const Table table = comparison_table(all_cells(report));
    EXPECT_THAT(
        to_csv(table), HasSubstr("streaming-llm,nominal,6,0.25,6,36,36,36,,,,,,,,,,,,,,,,,,,,0.19047619047619047,"));
    EXPECT_TRUE(nlohmann::json::parse(to_json(table))[0]["attn_out_l1"].is_null());
    EXPECT_THAT(to_text(table), HasSubstr(" -  "));
}

/// The example with a twin of lava at equal retention, whose losses are twice as large.
ReplayReport report_with_twin()
{
    ReplayReport report = example_report();
    PolicyReplay twin = report.policies[2];
    twin.match = "retained";
    twin.nominal = {5, 11, 23};
    twin.ranking.clear();
    twin.ranking_of = 2;
    for (double& loss : twin.attn_out_l1)
        loss *= 2;
    report.policies[1].match = "both";
    report.policies.push_back(std::move(twin));
    return report;
}

TEST(Tables, ShowNominalBudgetsAndEqualRetentionSideBySide)
{
    const ReplayReport report = report_with_twin();
    const std::vector<ReplayReport> reports = {report};
    const Table table = comparison_table(select_cells(reports, {{"lava"}, {12}, {}}));
    ASSERT_EQ(table.rows.size(), 2U);
    EXPECT_EQ(at(table, 1, "match"), Value("retained"));
    EXPECT_EQ(at(table, 1, "nominal"), Value(std::int64_t{11}));
    EXPECT_EQ(at(table, 1, "survival_needle"), at(table, 0, "survival_needle"));
    EXPECT_THAT(to_text(table), HasSubstr("match"));
    EXPECT_EQ(pivot(table, "attn_out_l1").rows.size(), 2U);
    // what is the budget at equal retention already is found under both names
    EXPECT_EQ(select_cells(reports, {{}, {12}, "retained"}).size(), 2U);
    EXPECT_EQ(select_cells(reports, {{}, {12}, "nominal"}).size(), 3U);
}

TEST(Tables, LeaveSpansOpenWhereTheReportKeepsNoRankings)
{
    ReplayReport report = example_report();
    for (PolicyReplay& replay : report.policies)
        replay.ranking.clear();
    const Table table = comparison_table(all_cells(report));
    EXPECT_EQ(at(table, 0, "survival_needle"), Value());
    EXPECT_EQ(at(table, 0, "retained"), Value(std::int64_t{36}));
}

TEST(GainTable, SetsOnePolicyAgainstAnotherNominalAndAtEqualRetention)
{
    const std::vector<ReplayReport> reports = {report_with_twin(), report_with_twin()};
    const Table table = gain_table(reports, {"snapkv", "lava", {12}});
    ASSERT_EQ(table.rows.size(), 4U); // nominal and retained, layers 0 and 2
    const double base = losses(Cell{reports[0], 1, 1}, 2)->attn_out_l1;
    const double other = losses(Cell{reports[0], 2, 1}, 2)->attn_out_l1;
    EXPECT_EQ(at(table, 1, "layer"), Value(std::int64_t{2}));
    EXPECT_EQ(at(table, 1, "reports"), Value(std::int64_t{2}));
    EXPECT_DOUBLE_EQ(std::get<double>(at(table, 1, "gain")), 1 - other / base);
    EXPECT_DOUBLE_EQ(std::get<double>(at(table, 3, "gain")), 1 - 2 * other / base);
    EXPECT_EQ(at(table, 3, "match"), Value("retained"));
    EXPECT_EQ(at(table, 1, "attn_out_l1_base_sd"), Value(0.0));
    EXPECT_THROW(gain_table(reports, {"snapkv", "lava", {12}, {3}}), Error);
    EXPECT_THROW(gain_table(reports, {"snapkv", "h2o", {12}}), Error);
    EXPECT_THROW(gain_table({}, {"snapkv", "lava", {12}}), Error);
}

TEST(GainTable, TakesTheDifferencePromptByPrompt)
{
    std::vector<ReplayReport> reports = {example_report(), example_report(), example_report()};
    for (std::size_t i = 0; i < 3; ++i) {
        for (PolicyReplay& replay : reports[i].policies)
            for (double& loss : replay.attn_out_l1)
                loss *= static_cast<double>(i + 1);
    }
    const Table table = gain_table(reports, {"snapkv", "lava", {12}, {0}});
    const double base = losses(Cell{reports[0], 1, 1}, 0)->attn_out_l1;
    const double other = losses(Cell{reports[0], 2, 1}, 0)->attn_out_l1;
    const auto number = [&](const char* name) { return std::get<double>(at(table, 0, name)); };
    EXPECT_DOUBLE_EQ(number("attn_out_l1_base"), 2 * base);
    EXPECT_DOUBLE_EQ(number("attn_out_l1_base_sd"), base); // of 1, 2 and 3 times it
    EXPECT_DOUBLE_EQ(number("attn_out_l1_difference"), 2 * (other - base));
    EXPECT_LE(std::min(other - base, 3 * (other - base)), number("attn_out_l1_difference_low"));
    EXPECT_LT(number("attn_out_l1_difference_low"), number("attn_out_l1_difference_high"));
    GainRequest request{"snapkv", "lava", {12}, {0}};
    request.by_report = true;
    const Table rows = gain_table(reports, request);
    ASSERT_EQ(rows.rows.size(), 3U);
    EXPECT_EQ(names(rows), names(table));
    EXPECT_DOUBLE_EQ(std::get<double>(at(rows, 2, "attn_out_l1_base")), 3 * base);
    EXPECT_EQ(at(rows, 2, "attn_out_l1_difference_low"), Value());
}

TEST(GainTable, BringsPromptsOfSeveralLengthsTogetherByShare)
{
    std::vector<ReplayReport> reports = {example_report(), example_report()};
    reports[1].trace.seq_len = 48;
    for (PolicyReplay& replay : reports[1].policies) {
        replay.budgets = {12, 24, 48};
        replay.ranking.clear(); // of 24 positions
    }
    const Table table = gain_table(reports, {"snapkv", "lava", {}, {0}});
    ASSERT_EQ(table.rows.size(), 3U); // 25, 50 and 100 %
    EXPECT_EQ(at(table, 0, "kept_percent"), Value(std::int64_t{25}));
    EXPECT_EQ(at(table, 0, "budget"), Value());
    EXPECT_EQ(at(table, 0, "reports"), Value(std::int64_t{2}));
    EXPECT_THAT(names(pivot(comparison_table(select_cells(reports, {})), "asked")),
        ElementsAre("report", "prompt_id", "seq_len", "policy", "match", "25%", "50%", "100%"));
}

TEST(Tables, RefuseBoundsOfAReportWithoutLosses)
{
    ReplayReport report = example_report_without_losses();
    report.file = "report.h5";
    const auto cells = all_cells(report);
    EXPECT_THAT([&] { bound_table(cells, Detail::run); },
        testing::ThrowsMessage<Error>(StartsWith("report.h5: bounds are of losses, and this report has none")));
}

TEST(Tables, NameTheReportWhereThereAreSeveral)
{
    std::vector<ReplayReport> reports = {example_report(), example_report()};
    reports[0].file = "a.h5";
    reports[1].file = "b.h5";
    reports[1].trace.spans = {{"needle", 8, 17}, {"needle", 21, 24}};
    const Table table = comparison_table(select_cells(reports, {{"lava"}, {6}}));
    ASSERT_EQ(table.rows.size(), 2U);
    EXPECT_EQ(names(table)[0], "report");
    EXPECT_EQ(at(table, 1, "report"), Value("b.h5"));
    EXPECT_EQ(at(table, 1, "survival_haystack"), Value());
    EXPECT_EQ(at(table, 0, "survival_needle"), at(table, 1, "survival_needle"));
    EXPECT_EQ(at(table, 0, "survival_needle_2"), Value());
    EXPECT_EQ(at(table, 1, "survival_needle_2"), Value(1.0));
}

TEST(Tables, SetPoliciesAgainstBudgets)
{
    ReplayReport report = example_report();
    report.policies[0].budgets = {6, 9, 24};
    const Table table = pivot(comparison_table(all_cells(report)), "attn_out_l1_relative");
    EXPECT_THAT(names(table), ElementsAre("report", "prompt_id", "seq_len", "policy", "match", "6", "9", "12", "24"));
    ASSERT_EQ(table.rows.size(), 3U);
    EXPECT_EQ(at(table, 0, "12"), Value());
    EXPECT_EQ(at(table, 2, "policy"), Value("lava:window=4"));
    EXPECT_EQ(at(table, 2, "12"), Value(losses(Cell{report, 2, 1})->ratio.attn_out_l1));
    EXPECT_EQ(at(table, 2, "9"), Value());
}

TEST(Tables, RefuseToPivotWhatIsNoQuantity)
{
    const ReplayReport report = example_report();
    const Table table = comparison_table(all_cells(report));
    for (const char* column : {"loss", "policy", ""}) {
        EXPECT_THAT([&] { pivot(table, column); },
            testing::ThrowsMessage<UsageError>(
                StartsWith("--pivot: expected one of nominal, asked, granted, retained")));
    }
}

TEST(Tables, QuoteWhatCsvWouldSplit)
{
    const Table table{{{"policy"}, {"x"}}, {{"lava:window=4,kernel=5", 1.5}, {"say \"a\"\nb", std::int64_t{2}}}};
    EXPECT_EQ(to_csv(table), "policy,x\n\"lava:window=4,kernel=5\",1.5\n\"say \"\"a\"\"\nb\",2\n");
    EXPECT_EQ(
        to_text(table), "policy                    x\nlava:window=4,kernel=5  1.5\nsay \"a\"?b                 2\n");
}

TEST(Tables, WriteNumbersThatReadBackTheSame)
{
    const double third = 1.0 / 3;
    const Table table{{{"x"}}, {{third}, {1e-300}, {123456789.123456789}}};
    const auto csv = split(to_csv(table), '\n');
    const auto json = nlohmann::json::parse(to_json(table));
    for (std::size_t row = 0; row < 3; ++row) {
        EXPECT_EQ(std::stod(csv[row + 1]), std::get<double>(table.rows[row][0]));
        EXPECT_EQ(json[row]["x"].get<double>(), std::get<double>(table.rows[row][0]));
    }
    EXPECT_EQ(to_text(table), "        x\n   0.3333\n   1e-300\n1.235e+08\n");
}

TEST(Tables, AreEmptyListsWithoutRows)
{
    EXPECT_EQ(to_json(comparison_table({})), "[]\n");
    EXPECT_THAT(to_csv(comparison_table({})),
        StartsWith("report,prompt_id,seq_len,policy,match,budget,budget_share,nominal,asked"));
}

TEST(RetainedSets, AreListedPerLayerAndHead)
{
    const ReplayReport report = example_report();
    const auto json = nlohmann::json::parse(retained_json(Cell{report, 0, 0}));
    EXPECT_EQ(json.size(), 5U);
    EXPECT_EQ(json["policy"], "streaming-llm");
    EXPECT_EQ(json["match"], "nominal");
    EXPECT_EQ(json["budget"], 6);
    EXPECT_EQ(json["seq_len"], 24);
    ASSERT_EQ(json["kept"].size(), 3U);
    ASSERT_EQ(json["kept"][2].size(), 2U);
    EXPECT_THAT(json["kept"][2][1].get<std::vector<int>>(), ElementsAre(0, 1, 2, 3, 22, 23));
    EXPECT_THAT(to_text(retained_table(Cell{report, 0, 0})), HasSubstr("\n    2        1         6  0-3,22-23\n"));
}

TEST(BoundTable, IsEmptyForAPolicyThatChangesValues)
{
    ReplayReport report = example_report();
    PolicyReplay& changing = report.policies[1];
    changing.bound_lava = changing.bound_adakv = changing.bound_projected = {};
    const std::vector<Cell> cells = all_cells(report);
    const std::size_t row = report.policies[0].budgets.size(); // the second policy's first
    for (const auto* column : {"bound_lava", "bound_projected", "tightness_adakv"}) {
        EXPECT_EQ(at(bound_table(cells, Detail::run), row, column), Value()) << column;
        EXPECT_NE(at(bound_table(cells, Detail::run), 0, column), Value()) << column;
    }
    EXPECT_NE(at(bound_table(cells, Detail::run), row, "attn_out_l1"), Value());
}

} // namespace
} // namespace lava
