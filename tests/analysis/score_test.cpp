// lava-analyze score as a person runs it, on lines as the benchmarks' programs write them.

#include "tests/analysis/analyze_program.h"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>

#include <zlib.h>

namespace lava {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

class Score : public AnalyzeProgram
{
protected:
    void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }
    Outcome run(const std::string& arguments) const { return AnalyzeProgram::run("score " + arguments); }
    void expect_refusal(const std::string& arguments, int status, const std::string& message) const
    {
        AnalyzeProgram::expect_refusal("score " + arguments, status, message);
    }
};

TEST_F(Score, PrintsARowForEveryLineOfLongBench)
{
    write("trec.jsonl",
        R"({"pred": "\nDate of birth\nor Food", "answers": ["Date of birth"], "all_classes": ["Date of birth", "Food"], "length": 3})"
        "\n\n"
        R"({"pred": "Food, Date", "answers": ["Date"], "all_classes": ["Date", "Food"], "length": 3})"
        "\n");
    const Outcome outcome = run("--predictions trec.jsonl --by sample --format json");
    EXPECT_THAT(outcome.errors, IsEmpty());
    const json rows = json::parse(outcome.output);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0]["line"], 1);
    EXPECT_EQ(rows[0]["dataset"], "trec");
    EXPECT_EQ(rows[0]["metric"], "classification");
    EXPECT_EQ(rows[0]["score"], 1.0);
    EXPECT_EQ(rows[1]["line"], 3);
    EXPECT_EQ(rows[1]["score"], 0.5);
}

TEST_F(Score, PrintsTheMeanOfEveryDataSetWithItsInterval)
{
    std::string lines;
    for (int i = 0; i < 40; ++i)
        lines += json{{"id", i}, {"prediction", i % 4 ? "4." : "no"}, {"ground_truth", {4}}}.dump() + "\n";
    const gzFile file = gzopen((folder_ / "gpt4.code_run.jsonl.gz").c_str(), "wb");
    gzwrite(file, lines.data(), static_cast<unsigned>(lines.size()));
    gzclose(file);
    write("mixed.jsonl",
        R"({"pred": "a b", "answers": ["a b"], "dataset": "qasper"})"
        "\n"
        R"({"pred": "a b", "answers": ["b c"], "dataset": "musique_e"})"
        "\n");
    const Outcome outcome = run("--predictions gpt4.code_run.jsonl.gz --predictions mixed.jsonl --format json");
    const json rows = json::parse(outcome.output);
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[0]["dataset"], "code_run");
    EXPECT_EQ(rows[0]["samples"], 40);
    EXPECT_EQ(rows[0]["score"], 0.75);
    EXPECT_EQ(rows[0]["percent"], 75.0);
    EXPECT_NEAR(rows[0]["score_sd"], 0.4385290096535146, 1e-12);
    EXPECT_NEAR(rows[0]["score_low"], 0.6, 0.03); // the mean less two standard errors of 0.069
    EXPECT_NEAR(rows[0]["score_high"], 0.875, 0.03);
    EXPECT_EQ(rows[1]["score_low"], nullptr);
    EXPECT_EQ(rows[2]["dataset"], "musique_e");
    EXPECT_NEAR(rows[2]["score"], 2.0 / 3, 1e-12); // "a" is an article
    EXPECT_THAT(outcome.errors, HasSubstr("note: mixed.jsonl: qasper: qa_f1: 1 sample: no interval can be given\n"));
}

TEST_F(Score, ShowsBothScoresOfANeedle)
{
    write("needle.jsonl",
        R"({"model_response": "eat a sandwich", "needle": "\neat a sandwich and sit in Dolores Park on a sunny day.\n"})"
        "\n");
    const json rows = json::parse(run("--predictions needle.jsonl --format json").output);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0]["metric"], "needle_rouge_1");
    EXPECT_NEAR(rows[0]["score"], 0.4, 1e-12);
    EXPECT_EQ(rows[1]["metric"], "needle_word_overlap");
    EXPECT_NEAR(rows[1]["score"], 3.0 / 11, 1e-12);
    const json samples = json::parse(run("--predictions needle.jsonl --format json --by sample").output);
    EXPECT_NEAR(samples[0]["needle_word_overlap"], 3.0 / 11, 1e-12);
}

TEST_F(Score, ReadsHalfASurrogatePairAsPythonDoes)
{
    write("qasper.jsonl", R"({"pred": "a \ud83d b \ud83d\ude00 \\ud83d \ude00", "answers": ["b \ud83d\ude00"]})");
    const json rows = json::parse(run("--predictions qasper.jsonl --by sample --format json").output);
    EXPECT_NEAR(
        rows[0]["score"], 4.0 / 7, 1e-12); // "ud83d", after its backslash, and two halves are words of their own
}

TEST_F(Score, TellsWhatAnOfficialScorerNeverFinds)
{
    write("kv_retrieval.jsonl", "{\"id\": 0, \"prediction\": \"x\", \"ground_truth\": [\"x\"]}\n");
    EXPECT_THAT(run("--predictions kv_retrieval.jsonl --by sample").errors,
        HasSubstr("note: 1 sample has a ground_truth that is no string"));
    write("qasper.jsonl", "{\"pred\": \"x\", \"answers\": []}\n");
    const Outcome outcome = run("--predictions qasper.jsonl --by sample --format csv");
    EXPECT_EQ(outcome.output, "file,line,id,dataset,metric,score\nqasper.jsonl,1,,qasper,qa_f1,0\n");
    EXPECT_THAT(outcome.errors, HasSubstr("no right answer"));
}

TEST_F(Score, RefusesWhatIsNoFileOfPredictions)
{
    const std::string good = R"({"pred": "x", "answers": ["x"]})";
    write("qasper.jsonl", good + "\n" + good + good + "\n");
    expect_refusal(
        "--predictions qasper.jsonl", 1, "qasper.jsonl:2: expected one JSON object, found something else at");
    write("deep.jsonl",
        good + "\n{\"id\": " + std::string(200'000, '[') + std::string(200'000, ']') + ", " + good.substr(1) + "\n");
    expect_refusal("--predictions deep.jsonl --dataset qasper", 1, "deep.jsonl:2: JSON nested deeper than 200 levels");
    write("nan.jsonl", good + "\n" + R"({"pred": "\ud800", "answers": [NaN]})" + "\n");
    expect_refusal("--predictions nan.jsonl --dataset qasper", 1,
        "nan.jsonl:2: expected one JSON object, found NaN at byte 32, a number that JSON does not have");
    write("array.jsonl", "[" + good + "]\n");
    expect_refusal("--predictions array.jsonl", 1, "array.jsonl:1: expected one JSON object, found a list");
    write("empty.jsonl", "\n");
    expect_refusal("--predictions empty.jsonl", 1, "empty.jsonl holds no predictions");
    write("trec.jsonl", good + "\n");
    expect_refusal("--predictions trec.jsonl", 1, "trec.jsonl:1: classification needs all_classes");
    expect_refusal("--predictions trec.jsonl --dataset math_find", 1,
        "trec.jsonl:1: the right answers, for infinitebench_math_find: expected a number");
    write("mine.jsonl", good + "\n");
    expect_refusal("--predictions mine.jsonl", 1, "mine.jsonl:1: names no data set");
    write("lcc.jsonl", "{\"pred\": \"x\", \"length\": 3}\n");
    expect_refusal("--predictions lcc.jsonl", 1, "lcc.jsonl:1: has no right answers");
    write("lcc.jsonl", "{\"pred\": 3, \"answers\": [\"3\"]}\n");
    expect_refusal("--predictions lcc.jsonl", 1, "lcc.jsonl:1: the prediction: expected a string, found a number");
    write("lcc.jsonl", R"({"pred": "x", "answers": ["x"], "dataset": "qasper"})");
    expect_refusal("--predictions lcc.jsonl --dataset lcc", 1,
        "lcc.jsonl:1: is a prediction of the data set 'qasper', not of lcc");
    write("cut.jsonl.gz", std::string("\x1f\x8b\x08\x00", 4));
    expect_refusal("--predictions cut.jsonl.gz", 1, "cut.jsonl.gz: cannot be read: the gzipped file ends early");
    expect_refusal("--predictions missing.jsonl", 1, "missing.jsonl: cannot be opened: No such file");
    expect_refusal("--predictions .", 1, ".: expected a file, found a folder");
}

TEST_F(Score, ReadsManyHalvesOfSurrogatePairsInTimeThatGrowsWithThem)
{
    std::string halves;
    for (int i = 0; i < 200'000; ++i)
        halves += i % 2 ? "\\ud800x" : "\\udc01";
    write("qasper.jsonl", R"({"pred": ")" + halves + R"( \ud83d\ude00 end", "answers": ["end"]})");
    const json rows
        = json::parse(run("--predictions qasper.jsonl --metric infinitebench_passkey --format json").output);
    EXPECT_EQ(rows.size(), 1u);
}

TEST_F(Score, RefusesWrongUsage)
{
    write("qasper.jsonl", R"({"pred": "x", "answers": ["x"]})");
    expect_refusal("", 2, "score: expected a report, such as report.h5, or --predictions FILE.jsonl");
    expect_refusal("--predictions qasper.jsonl --dataset none", 2, "--dataset: expected one of narrativeqa, ");
    expect_refusal("--predictions qasper.jsonl --metric none", 2, "--metric: expected one of qa_f1, ");
    expect_refusal("--predictions qasper.jsonl --predictions ./qasper.jsonl", 2, "./qasper.jsonl is given twice");
    expect_refusal(
        "--predictions qasper.jsonl --by layer", 2, "--by: expected run, sample or, of reports, needle, found 'layer'");
    expect_refusal("--predictions qasper.jsonl -p lava", 2, "--policy does not go with --predictions");
    expect_refusal(
        "--predictions qasper.jsonl --metric qa_f1_zh --jieba /nowhere", 1, "/nowhere/dict.txt: cannot be read");
}

} // namespace
} // namespace lava
