// Expected numbers are those of InfiniteBench's compute_scores.py.

#include "analysis/metrics/metric.h"
#include "base/error.h"

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

namespace lava {
namespace {

using nlohmann::json;

double task_score(const char* task, const std::string& prediction, const json& truth)
{
    return score(*find_metric(task), nullptr, prediction, truth, {}, nullptr);
}

TEST(InfiniteBench, TakesTheFirstInteger)
{
    EXPECT_EQ(task_score("passkey", "The pass key is 71432. Or 5", "71432"), 1);
    EXPECT_EQ(task_score("passkey", " 71432.", {"71432"}), 1);
    EXPECT_EQ(task_score("number_string", "5 71432", "71432"), 0);
    EXPECT_EQ(task_score("passkey", "71432", 71432), 0); // a number is no text
    EXPECT_EQ(task_score("passkey", "٤4", "4"), 1);
}

TEST(InfiniteBench, LooksForTheValueAmongTheWords)
{
    EXPECT_EQ(task_score("kv_retrieval", "{\"key\": \"5e6b-7b\"}.", "5e6b-7b"), 1);
    EXPECT_EQ(task_score("kv_retrieval", "5e6b-7b9", "5e6b-7b"), 0);
    EXPECT_EQ(task_score("kv_retrieval", "5e6b-7b", {"5e6b-7b"}), 0); // a list is no word
    EXPECT_EQ(score("infinitebench_kv_retrieval", "kv_retrieval", "5e6b-7b", std::vector<std::string>{"5e6b-7b"}), 1);
}

TEST(InfiniteBench, TakesTheLastIntegerOfACodeRun)
{
    EXPECT_EQ(task_score("code_run", "func(2) = `-4`.", -4), 1);
    EXPECT_EQ(task_score("code_run", "it is 007", {7}), 1);
    EXPECT_EQ(task_score("code_run", "4.0", 0), 1); // the point parts it
    EXPECT_EQ(task_score("code_run", "1_0", 10.0), 1);
    EXPECT_EQ(task_score("code_run", "4", "4"), 0);
    EXPECT_EQ(task_score("code_run", "4 x", 4), 0);
    EXPECT_EQ(task_score("code_run", "", 4), 0);
    EXPECT_EQ(score("infinitebench_code_run", "code_run", "4", std::vector<std::string>{"4"}), 1);
}

TEST(InfiniteBench, ReadsTheOptionThatWasChosen)
{
    const json parse = {"_parser", "D"};
    EXPECT_EQ(task_score("code_debug", "D. _parser", parse), 1);
    EXPECT_EQ(task_score("code_debug", "D", parse), 0);
    EXPECT_EQ(task_score("code_debug", "The correct answer is:\n\nD. _parser", parse), 1);
    EXPECT_EQ(task_score("code_debug", "The option is: `_parser`", parse), 1);
    EXPECT_EQ(task_score("code_debug", "The answer is:", parse), 0);
    const json snow = {"Snowfield", "C"};
    EXPECT_EQ(task_score("longbook_choice_eng", "C. anything", snow), 1);
    EXPECT_EQ(task_score("longbook_choice_eng", "A", snow), 0);
    EXPECT_EQ(task_score("longbook_choice_eng", " Snowfield ", snow), 1);
    EXPECT_EQ(task_score("longbook_choice_eng", "The answer is  Snowfield", snow), 1);
    EXPECT_EQ(task_score("longbook_choice_eng", "it must be C", snow), 1);
    EXPECT_EQ(task_score("longbook_choice_eng", "it must be BC or C", snow), 0); // "BC" is in "ABCD"
    EXPECT_EQ(task_score("longbook_choice_eng", "", snow), 0);
    EXPECT_THROW(task_score("longbook_choice_eng", "A", {"Snowfield"}), Error);
}

TEST(InfiniteBench, ComparesNumbersAsTheAnswerHasThem)
{
    EXPECT_EQ(task_score("math_find", "88\n\nThe smallest", 88), 1);
    EXPECT_EQ(task_score("math_find", "is 4.5", {4.5}), 1);
    EXPECT_EQ(task_score("math_find", "is 4", 4.0), 1);
    EXPECT_EQ(task_score("math_find", "-4", 4), 1); // no sign is read
    EXPECT_EQ(task_score("math_find", "4.0", 4), 0); // where the official scorer ends
    EXPECT_EQ(task_score("math_find", "9999999999999999999999", 4), 0);
    EXPECT_THROW(task_score("math_find", "4", "4"), Error);
    EXPECT_EQ(score("infinitebench_math_find", "math_find", "4.5", std::vector<std::string>{"4.5"}), 1);
    EXPECT_DOUBLE_EQ(task_score("math_calc", "4, 1, 7", {4, 1, 10}), 2.0 / 3);
    EXPECT_EQ(task_score("math_calc_gpt4", "9 4 1 10", {4, 1, 10}), 1);
    EXPECT_DOUBLE_EQ(task_score("math_calc", "4", json::array({{4, 1}})), 0.5);
}

TEST(InfiniteBench, LooksForTheNameInCapitals)
{
    EXPECT_EQ(task_score("longdialogue_qa_eng", "\"Ace.", {"ACE", "ACE ROTHSTEIN"}), 1);
    EXPECT_EQ(task_score("longdialogue_qa_eng", "Rothstein", {"ACE", "ROTHSTEIN"}), 0); // the first name alone
    EXPECT_EQ(task_score("longdialogue_qa_eng", "straße", {"STRASSE"}), 1);
}

TEST(InfiniteBench, CountsWordsOrCharacters)
{
    EXPECT_EQ(task_score("longbook_qa_eng", "the Peyton", {"\"Peyton\""}), 1);
    EXPECT_DOUBLE_EQ(task_score("longbook_qa_chn", "福气龙派出的武士。", {"福气龙"}), 0.5454545454545454);
    EXPECT_DOUBLE_EQ(task_score("longbook_sum_eng", "the cat sat\non the mat", "on the cat\nthe mat sat"), 1);
    EXPECT_THROW(task_score("longbook_qa_eng", "x", "x"), Error);
}

} // namespace
} // namespace lava
