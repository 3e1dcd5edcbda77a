// Expected numbers are those of the benchmarks' own code: LongBench's metrics.py with rouge 1.0.1 and fuzzywuzzy
// 0.18.0, InfiniteBench's compute_scores.py with rouge_score 0.1.2, RULER's constants.py, LAVa's
// run_needle_in_haystack.py.

#include "analysis/metrics/metric.h"
#include "analysis/metrics/porter_stem.h"
#include "analysis/metrics/rouge.h"
#include "analysis/metrics/similarity.h"
#include "base/error.h"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>

namespace lava {
namespace {

using nlohmann::json;

double score_of(const char* metric, const std::string& prediction, const json& answers,
    const std::vector<std::string>& classes = {})
{
    return score(*find_metric(metric), nullptr, prediction, answers, classes, nullptr);
}

TEST(Metrics, CountWordsWithoutArticlesAndPunctuation)
{
    EXPECT_DOUBLE_EQ(score_of("qa_f1", "The U.S. army, an army of two.", {"army of the US"}), 0.75);
    EXPECT_DOUBLE_EQ(score_of("qa_f1", "naïve_café a-b the_the", {"Naïvecafé AB"}), 0.8);
    EXPECT_EQ(score_of("qa_f1", "the", {"the"}), 0);
    EXPECT_EQ(score_of("qa_f1", "x", json::array()), 0);
    EXPECT_EQ(score_of("qa_f1", "right", {"wrong", "right"}), 1);
}

TEST(Metrics, ShareAClassAmongThoseLeftInAListThatChangesWhileItIsWalked)
{
    const std::vector<std::string> classes = {"Date", "Date of birth", "Number", "Number of something", "Other number"};
    EXPECT_EQ(score_of("classification", "Date of birth", {"Date of birth"}, classes), 1);
    EXPECT_EQ(score_of("classification", "Date of birth, Number", {"Date of birth"}, classes), 0.5);
    EXPECT_EQ(score_of("classification", "Other number, Number of something", {"Number of something"}, classes), 0.5);
    // "b", which goes too, is passed over since "a" went before it
    EXPECT_EQ(score_of("classification", "a b ab", {"ab"}, {"a", "b", "ab"}), 0.5);
    EXPECT_EQ(score_of("classification", "Time", {"Date"}, classes), 0);
}

TEST(Metrics, CompareNumbersAsTheyAreWritten)
{
    EXPECT_DOUBLE_EQ(score_of("retrieval", "Paragraph 12, or 3, 12", {"Paragraph 12"}), 2.0 / 3);
    EXPECT_EQ(score_of("retrieval_zh", "段落１２ 12", {"段落12"}), 0.5);
    EXPECT_DOUBLE_EQ(score_of("count", "There are 3 of 3 or 03", {"3"}), 2.0 / 3);
    EXPECT_EQ(score_of("count", "3", {3}), 1);
    EXPECT_EQ(score_of("count", "three", {"3"}), 0);
    EXPECT_THROW(score_of("retrieval", "12", {"12"}), Error);
}

TEST(Metrics, CompareTheFirstLineOfCode)
{
    EXPECT_EQ(score_of("code_sim", "\n# comment\nreturn self.value\nx", {"return self.values"}), 0.97);
    EXPECT_EQ(score_of("code_sim", "```", {"x"}), 0);
    EXPECT_EQ(score_of("code_sim", "", {""}), 1);
}

TEST(Similarity, OfDifflibPassesOverWhatIsFrequentInALongText)
{
    Characters text;
    for (int i = 0; i < 6; ++i)
        text += U"the quick brown fox jumps over the lazy dog ";
    const Characters other = text.substr(5, 115) + text.substr(130);
    EXPECT_EQ(difflib_ratio(other, text), 0);
    EXPECT_EQ(difflib_ratio(text, text), 100);
    EXPECT_EQ(levenshtein_ratio(other, text), 97);
    EXPECT_EQ(levenshtein_ratio(U"return self.value", U"return self.values"), 97);
}

TEST(Rouge, IsOfSetsOfWordsBetweenFullStops)
{
    EXPECT_NEAR(rouge_l(U"the cat sat. on the mat the mat", U"the mat sat on. the cat"), 0.799999995, 1e-12);
    EXPECT_EQ(rouge_l(U"...", U"x"), 0);
    EXPECT_NEAR(rouge_l(U" . a", U"a. "), 0.999999995, 1e-12); // a blank sentence is an empty word
}

TEST(Rouge, IsNothingWherePythonsRecursionEnds)
{
    Characters words;
    for (char32_t i = 0; i < 990; ++i)
        words += Characters(1, U'一' + i) + U' ';
    EXPECT_NEAR(rouge_l(words, words), 1, 1e-8);
    words += U"end";
    EXPECT_EQ(rouge_l(words, words), 0);
}

TEST(Rouge, OfLinesCountsAWordOnlyAsOftenAsItOccurs)
{
    EXPECT_DOUBLE_EQ(rouge_l_of_lines(U"the cat sat\non the mat", U"on the cat\nthe mat sat"), 1);
    EXPECT_DOUBLE_EQ(rouge_l_of_lines(U"a b c", U"c b a"), 1.0 / 3);
    EXPECT_EQ(rouge_l_of_lines(U"...", U"a"), 0);
}

TEST(PorterStem, HasTheExtensionsOfNltk)
{
    const std::pair<const char*, const char*> stems[] = {{"relational", "relat"}, {"conditional", "condit"},
        {"vietnamization", "vietnam"}, {"hopping", "hop"}, {"falling", "fall"}, {"hissing", "hiss"}, {"filing", "file"},
        {"troubled", "troubl"}, {"happy", "happi"}, {"enjoy", "enjoy"}, {"skies", "sky"}, {"dying", "die"},
        {"flies", "fli"}, {"tied", "tie"}, {"spied", "spi"}, {"agreed", "agre"}, {"feed", "feed"},
        {"geology", "geolog"}, {"radically", "radic"}, {"sensibility", "sensibl"}, {"adoption", "adopt"},
        {"adjustment", "adjust"}, {"controll", "control"}, {"rate", "rate"}, {"cease", "ceas"}};
    for (const auto& [word, stem] : stems)
        EXPECT_EQ(porter_stem(word), stem) << word;
}

TEST(Metrics, FindTheNeedleInTwoWays)
{
    const json needle
        = {"\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n"};
    EXPECT_DOUBLE_EQ(score_of("needle_rouge_1", "Eating sandwiches in Dolores Park.", needle), 0.38461538461538464);
    EXPECT_DOUBLE_EQ(score_of("needle_word_overlap", "Eating sandwiches in Dolores Park.", needle), 3.0 / 11);
    EXPECT_EQ(score_of("needle_word_overlap", "the code is 12", {"Code is 12."}), 1);
}

TEST(Metrics, FindStringsWhateverTheirCase)
{
    EXPECT_EQ(score_of("string_match_all", "It is ABC\x01 and x.", {"abc", "and X", "missing", "abc\n and"}), 0.75);
    EXPECT_EQ(score_of("string_match_part", "abc", {"x", "B"}), 1);
    EXPECT_EQ(score_of("string_match_part", "abc", {"x"}), 0);
    EXPECT_THROW(score_of("string_match_all", "abc", json::array()), Error);
}

TEST(Metrics, OfATaskCutThePredictionWhereTheBenchmarkDoes)
{
    const std::vector<std::string> answers = {"yes"};
    EXPECT_EQ(score("qa_f1", "triviaqa", "\n\nyes\nand more", answers), 1);
    EXPECT_EQ(score("qa_f1", "hotpotqa", "\n\nyes\nand", answers), 2.0 / 3);
    EXPECT_EQ(score("qa_f1", "of my own", "yes", answers), 1);
    EXPECT_EQ(score("classification", "trec_e", "yes\nno", answers, std::vector<std::string>{"yes", "no"}), 1);
    EXPECT_THROW(score("nothing", "hotpotqa", "", answers), Error);
    EXPECT_THROW(score("rouge_zh", "vcsum", "", answers), Error);
}

TEST(Metrics, OfEveryTaskAreThere)
{
    for (const Task& task : tasks())
        EXPECT_NE(find_metric(task.metric), nullptr) << task.name;
    EXPECT_EQ(find_metric("needle"), find_metric("needle_rouge_1"));
    EXPECT_EQ(find_metric("passkey"), find_metric("infinitebench_passkey"));
    EXPECT_EQ(find_task("passkey_e"), nullptr);
    EXPECT_EQ(find_task("hotpotqa_e"), find_task("hotpotqa"));
}

} // namespace
} // namespace lava
