// The scores of answers from evicted caches, by hand-made values, and lava-analyze score as a person runs it.

#include "analysis/score_reports.h"

#include "analysis/selection.h"
#include "base/error.h"
#include "tests/analysis/analyze_program.h"
#include "tests/analysis/scored_report.h"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>

namespace lava {
namespace {

using nlohmann::json;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;

constexpr const char* lava_policy = "lava:window=4";
constexpr const char* snapkv_policy = "snapkv:window=4";

/// Three prompts of one task. By sample, lava scores 1, 2/3, 0 and snapkv 0, 2/3, 1; dense 1, 1, 2/3.
std::vector<ReplayReport> three_prompts()
{
    const json by = scoring_of_question("hotpotqa");
    return {scored_report(0, by, "red ball", {{"no"}, {"no"}, {"red ball"}}),
        scored_report(1, by, "red ball", {{"no"}, {"red"}, {"red"}}),
        scored_report(2, by, "red", {{"no"}, {"red ball"}, {"no"}})};
}

const ScoreRow& row_of(const std::vector<ScoreRow>& rows, const std::string& task, const std::string& policy,
    std::int64_t percent = 25, const std::string& match = "nominal")
{
    for (const ScoreRow& row : rows) {
        if (row.task.task == task && row.policy == policy && row.kept_percent == Value(percent) && row.match == match)
            return row;
    }
    throw std::runtime_error("no row of " + task + " and " + policy);
}

std::string refusal(const ReplayReport& report)
{
    try {
        score_rows(all_cells(report), {});
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

TEST(ReportScores, AreMeansOverSamplesWithTheWholeCacheBeside)
{
    const std::vector<ReplayReport> reports = three_prompts();
    const std::vector<ScoreRow> rows = score_rows(select_cells(reports, {}), {});
    ASSERT_EQ(rows.size(), 9U); // three policies at 25, 50 and 100 %; one task has no row of all
    const ScoreRow& row = row_of(rows, "hotpotqa", lava_policy);
    EXPECT_EQ(row.task.metric, "qa_f1");
    EXPECT_EQ(row.score.mean.count, 3);
    EXPECT_THAT(row.score.mean.value, Optional(DoubleNear(5.0 / 9, 1e-12)));
    // one of 27 resamples has the mean 0, one 1: more than 2.5 % of them
    EXPECT_THAT(row.score.low, Optional(DoubleNear(0, 1e-12)));
    EXPECT_THAT(row.score.high, Optional(DoubleNear(1, 1e-12)));
    EXPECT_DOUBLE_EQ(row.dense, 8.0 / 9);
    EXPECT_EQ(row.budget.value(), Value(std::int64_t{6}));
    EXPECT_FALSE(row.compared);
}

TEST(ReportScores, AreComparedPromptByPrompt)
{
    const std::vector<ReplayReport> reports = three_prompts();
    const std::vector<ScoreRow> rows = score_rows(select_cells(reports, {}), {.baseline = snapkv_policy});
    EXPECT_FALSE(row_of(rows, "hotpotqa", snapkv_policy).compared);
    const auto compared = row_of(rows, "hotpotqa", lava_policy).compared;
    ASSERT_TRUE(compared);
    EXPECT_THAT(compared->difference.mean.value, Optional(DoubleNear(0, 1e-12)));
    EXPECT_THAT(compared->difference.low, Optional(DoubleNear(-1, 1e-12)));
    EXPECT_THAT(compared->difference.high, Optional(DoubleNear(1, 1e-12)));
    EXPECT_THAT((std::vector{compared->won, compared->tied, compared->lost}), ElementsAre(1, 1, 1));
    const auto streaming = row_of(rows, "hotpotqa", "streaming-llm").compared;
    EXPECT_THAT((std::vector{streaming->won, streaming->tied, streaming->lost}), ElementsAre(0, 1, 2));
    EXPECT_THAT(streaming->difference.mean.value, Optional(DoubleNear(-5.0 / 9, 1e-12)));
}

TEST(ReportScores, OfAllTasksAreTheMeanOfTheTasksMeans)
{
    std::vector<ReplayReport> reports;
    const json one = scoring_of_question("hotpotqa"), other = scoring_of_question("musique");
    for (const char* answer : {"red ball", "no"}) // 1/2
        reports.push_back(scored_report(std::ssize(reports), one, "red ball", {{"no"}, {"no"}, {answer}}));
    for (int i = 0; i < 6; ++i) // 1
        reports.push_back(scored_report(std::ssize(reports), other, "no", {{"no"}, {"red ball"}, {"red ball"}}));
    const std::vector<ScoreRow> rows = score_rows(select_cells(reports, {}), {.baseline = snapkv_policy});
    const ScoreRow& row = row_of(rows, "all", lava_policy);
    EXPECT_EQ(row.tasks, 2);
    EXPECT_EQ(row.score.mean.count, 8);
    EXPECT_THAT(row.score.mean.value, Optional(DoubleNear(0.75, 1e-12))); // not 7 of 8
    // the first task's resampled means are 0, 1/2 and 1, a quarter, a half and a quarter of them
    EXPECT_THAT(row.score.low, Optional(DoubleNear(0.5, 1e-12)));
    EXPECT_THAT(row.score.high, Optional(DoubleNear(1, 1e-12)));
    EXPECT_EQ(row.score.mean.deviation, std::nullopt);
    EXPECT_DOUBLE_EQ(row.dense, 0.5);
    EXPECT_THAT(row.compared->difference.mean.value, Optional(DoubleNear(0.25, 1e-12)));
    EXPECT_THAT((std::vector{row.compared->won, row.compared->tied, row.compared->lost}), ElementsAre(1, 7, 0));
    EXPECT_EQ(rows.back().task.task, "all");
}

TEST(ReportScores, OfBenchmarksAndVariantsStayApart)
{
    json kvpress = scoring_of_question("hotpotqa"), cut = scoring_of_question("hotpotqa");
    kvpress["variant"] = "kvpress";
    cut["max_length"] = 4096;
    const std::vector<ReplayReport> reports = {
        scored_report(0, scoring_of_question("hotpotqa"), "no", {{"no"}, {"no"}, {"no"}}),
        scored_report(1, kvpress, "no", {{"no"}, {"no"}, {"red ball"}}),
        scored_report(2, cut, "no", {{"no"}, {"no"}, {"red"}}),
    };
    const std::vector<ScoreRow> rows = score_rows(select_cells(reports, {.policies = {"lava"}, .budgets = {}}), {});
    ASSERT_EQ(rows.size(), 9U);
    for (const ScoreRow& row : rows) {
        EXPECT_EQ(row.score.mean.count, 1);
        EXPECT_EQ(row.score.low, std::nullopt);
    }
    EXPECT_EQ(rows[3].task.variant, "kvpress");
    EXPECT_EQ(rows[3].score.mean.value, 1.0);
    EXPECT_EQ(rows[6].task.max_length, 4096);
}

TEST(ReportScores, BringPromptsOfSeveralLengthsTogetherByShare)
{
    std::vector<ReplayReport> reports = three_prompts();
    reports[1].trace.seq_len = 48;
    for (PolicyReplay& replay : reports[1].policies)
        replay.budgets = {12, 24, 48};
    const std::vector<ScoreRow> rows = score_rows(select_cells(reports, {}), {});
    const ScoreRow& row = row_of(rows, "hotpotqa", lava_policy, 50);
    EXPECT_EQ(row.score.mean.count, 3);
    EXPECT_EQ(row.budget.value(), Value()); // 12 and 24
}

TEST(ReportScores, CountABudgetAtEqualRetentionAsBoth)
{
    std::vector<ReplayReport> reports = three_prompts();
    for (ReplayReport& report : reports)
        report.policies[1].match = "both"; // snapkv
    const std::vector<ScoreRow> rows = score_rows(select_cells(reports, {}), {.baseline = snapkv_policy});
    EXPECT_EQ(rows.size(), 9U);
    EXPECT_EQ(row_of(rows, "hotpotqa", snapkv_policy, 25, "both").score.mean.count, 3);
    EXPECT_TRUE(row_of(rows, "hotpotqa", lava_policy).compared);
}

TEST(ReportScores, OfANeedleAreTwo)
{
    json needle = scoring_of_question("needle");
    needle["metric"] = "needle";
    needle["record"] = {{"file", "book.txt"}, {"length", 1024}, {"depth", 50.0}};
    const ReplayReport report = scored_report(0, needle, "red ball", {{"no"}, {"no"}, {"red"}});
    const std::vector<ScoreRow> rows = score_rows(all_cells(report), {});
    ASSERT_EQ(rows.size(), 18U);
    EXPECT_EQ(rows[2].task.metric, "needle_rouge_1");
    EXPECT_THAT(rows[2].score.mean.value, Optional(DoubleNear(2.0 / 3, 1e-12)));
    EXPECT_EQ(rows[11].task.metric, "needle_word_overlap");
    EXPECT_THAT(rows[11].score.mean.value, Optional(DoubleNear(0.5, 1e-12)));
    EXPECT_EQ(scoring_of(report).depth, 50.0);
    EXPECT_EQ(scoring_of(report).length, 1024.0);
}

TEST(ReportScores, ByNeedleAreOfALengthAndADepth)
{
    json needle = scoring_of_question("needle");
    needle["metric"] = "needle";
    std::vector<ReplayReport> reports;
    for (const double length : {2048, 1024}) {
        for (const double depth : {100, 50}) {
            needle["record"] = {{"file", "book.txt"}, {"length", length}, {"depth", depth}};
            const char* answer = depth == 50 ? "red ball" : "no";
            reports.push_back(scored_report(std::ssize(reports), needle, "red ball", {{"no"}, {"no"}, {answer}}));
        }
    }
    const std::vector<ScoreRow> rows
        = score_rows(select_cells(reports, {.policies = {"lava"}, .budgets = {}}), {.by = ScoreBy::needle});
    ASSERT_EQ(rows.size(), 4U * 2 * 3); // two metrics, three budgets
    EXPECT_EQ(rows[0].length, 1024);
    EXPECT_EQ(rows[0].depth, 50);
    EXPECT_EQ(rows[0].score.mean.value, 1.0);
    EXPECT_EQ(rows[6].depth, 100);
    EXPECT_EQ(rows[6].score.mean.value, 0.0);
    EXPECT_EQ(rows[12].length, 2048);
}

TEST(ReportScores, NeedAScoringAndAnswers)
{
    ReplayReport report = three_prompts()[0];
    report.closed_loop.generated_text.reset();
    EXPECT_THAT(refusal(report), HasSubstr("prompt0.report.h5: holds answers without their text: expected a replay"));
    report.closed_loop.generated_ids.clear();
    for (PolicyReplay& replay : report.policies)
        replay.closed_loop.generated_ids.clear();
    EXPECT_THAT(refusal(report),
        HasSubstr("prompt0.report.h5: holds no answers of the model: expected a replay with "
                  "lava-replay --closed-loop --free"));
    EXPECT_THAT(refusal(example_report()), HasSubstr("does not say what its answers are scored by: expected a replay"));
    json scoring = scoring_of_question("x");
    const auto refusal_of = [&] { return refusal(scored_report(0, scoring, "no", {{"no"}, {"no"}, {"no"}})); };
    scoring["metric"] = "bleu";
    EXPECT_THAT(refusal_of(), HasSubstr("its prompt names the metric 'bleu', which does not exist here"));
    scoring.erase("metric");
    EXPECT_THAT(refusal_of(), HasSubstr("its prompt names no metric; name one with --metric"));
    scoring["metric"] = "classification";
    EXPECT_THAT(refusal_of(), HasSubstr("classification needs all_classes"));
    scoring["metric"] = "math_find";
    EXPECT_THAT(refusal_of(), HasSubstr("the right answers, for infinitebench_math_find: expected a number"));
    EXPECT_THROW(score_rows(all_cells(three_prompts()[0]), {.by = ScoreBy::needle}), Error);
    scoring["answers"] = json::array({3});
    EXPECT_THAT(refusal_of(), HasSubstr("prompt0.report.h5: scoring: answers: expected a list of strings, found [3]"));
    scoring.erase("answers");
    EXPECT_THAT(refusal_of(), HasSubstr("its prompt has no right answers to score by"));
}

TEST(ReportScores, TellOfAnswersThatWereCut)
{
    json by = scoring_of_question("hotpotqa");
    by["max_new_tokens"] = 4; // the answers have three, and end with </s>
    ReplayReport report = scored_report(0, by, "no", {{"no"}, {"no"}, {"no"}});
    EXPECT_FALSE(cuts_answers(report, scoring_of(report)));
    report.policies[1].closed_loop.generated_ids[5] = -1; // behind an end
    EXPECT_FALSE(cuts_answers(report, scoring_of(report)));
    report.policies[1].closed_loop.generated_ids[5] = 300;
    EXPECT_TRUE(cuts_answers(report, scoring_of(report)));
    EXPECT_THAT(score_reports(all_cells(report), {}).notes.front(),
        HasSubstr("1 of 1 reports, prompt0.report.h5 the first, have answers cut below the number of tokens"));
    by["stop"] = {{"eos", true}, {"ids", {300}}};
    report.trace.tokenization = json{{"scoring", by}}.dump();
    EXPECT_FALSE(cuts_answers(report, scoring_of(report)));
    by["max_new_tokens"] = 3;
    report.closed_loop.generated_ids = {7, 302, 302};
    report.trace.tokenization = json{{"scoring", by}}.dump();
    EXPECT_FALSE(cuts_answers(report, scoring_of(report)));
    EXPECT_FALSE(exceeds_answers(report, scoring_of(report)));
    by["max_new_tokens"] = 2;
    report.trace.tokenization = json{{"scoring", by}}.dump();
    EXPECT_TRUE(exceeds_answers(report, scoring_of(report)));
    EXPECT_THAT(score_reports(all_cells(report), {}).notes.front(),
        HasSubstr("1 of 1 reports, prompt0.report.h5 the first, have answers longer than their prompts allow"));
}

class ScoreOfReports : public AnalyzeProgram
{
protected:
    void write(const std::vector<ReplayReport>& reports) const
    {
        for (const ReplayReport& report : reports)
            write_report(folder_ / report.file, report);
    }
    Outcome run(const std::string& arguments) const { return AnalyzeProgram::run("score " + arguments); }
    void expect_refusal(const std::string& arguments, int status, const std::string& message) const
    {
        AnalyzeProgram::expect_refusal("score " + arguments, status, message);
    }
};

TEST_F(ScoreOfReports, PrintsATableAndSaysThatSamplesAreFew)
{
    write(three_prompts());
    const Outcome outcome
        = run("prompt0.report.h5 prompt1.report.h5 prompt2.report.h5 -p lava -b 25% --baseline snapkv");
    EXPECT_EQ(outcome.output,
        "task      metric  policy           match    kept_percent  samples   score  score_low  score_high  dense_score "
        " "
        "score_difference  score_difference_low  score_difference_high  won  tied  lost\n"
        "hotpotqa  qa_f1   snapkv:window=4  nominal            25        3  0.5556          0           1       0.8889 "
        " "
        "               -                     -                      -    -     -     -\n"
        "hotpotqa  qa_f1   lava:window=4    nominal            25        3  0.5556          0           1       0.8889 "
        " "
        "               0                    -1                      1    1     1     1\n");
    EXPECT_EQ(outcome.errors,
        "lava-analyze: note: few samples (hotpotqa 3): of so few the intervals are narrower than they should be, and "
        "of "
        "one sample there is none\n");
}

TEST_F(ScoreOfReports, GivesThePredictionsOfTheSameTextsTheSameScores)
{
    write(three_prompts());
    const json rows = json::parse(
        run("prompt0.report.h5 prompt1.report.h5 prompt2.report.h5 --by sample -p lava -b 6 -f json").output);
    ASSERT_EQ(rows.size(), 3U);
    std::string lines;
    for (const json& row : rows)
        lines += json{{"pred", row["answer"]}, {"answers", json::parse(row["right_answers"].get<std::string>())},
                     {"dataset", row["task"]}}
                     .dump()
            + "\n";
    std::ofstream(folder_ / "predictions.jsonl") << lines;
    const json predicted = json::parse(run("--predictions predictions.jsonl --by sample -f json").output);
    for (std::size_t i = 0; i < 3; ++i)
        EXPECT_EQ(rows[i]["score"], predicted[i]["score"]);
    EXPECT_EQ(rows[1]["answer"], "red");
    EXPECT_EQ(rows[2]["dense_answer"], "red");
    EXPECT_EQ(rows[1]["prompt_id"], "prompt1");
    EXPECT_EQ(rows[1]["budget"], 6);
    const json means
        = json::parse(run("prompt0.report.h5 prompt1.report.h5 prompt2.report.h5 -p lava -b 6 -f json").output);
    const json of_predictions = json::parse(run("--predictions predictions.jsonl -f json").output);
    for (const char* column : {"score", "score_sd", "score_low", "score_high", "percent", "samples"})
        EXPECT_EQ(means[0][column], of_predictions[0][column]) << column;
}

TEST_F(ScoreOfReports, RefusesWhatCannotStandInOneTable)
{
    write(three_prompts());
    ReplayReport again = three_prompts()[0], other = three_prompts()[1];
    again.file = "again.h5";
    other.file = "other.h5";
    other.trace.weights_sha256 = std::string(64, 'b');
    write({again, other});
    expect_refusal("prompt0.report.h5 again.h5", 1, "for the same prompt, which would count it twice");
    expect_refusal("prompt0.report.h5 other.h5", 1, "other.h5: expected a report of example-llama");
    expect_refusal("prompt0.report.h5 --metric none", 2, "--metric: expected one of qa_f1, ");
    expect_refusal("prompt0.report.h5 --dataset qasper", 2, "--dataset goes with --predictions");
    expect_refusal(
        "prompt0.report.h5 --predictions x.jsonl", 2, "score: expected reports or --predictions, found both");
    expect_refusal("prompt0.report.h5 --baseline h2o", 1, "no policy 'h2o'");
}

} // namespace
} // namespace lava
