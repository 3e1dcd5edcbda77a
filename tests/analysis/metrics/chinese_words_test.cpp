// Expected words are those of jieba 0.42.1 with the same dictionary and model.

#include "analysis/metrics/chinese_words.h"
#include "analysis/metrics/metric.h"
#include "base/error.h"
#include "tests/temporary_folder.h"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>

namespace lava {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A folder as the package's, of few words and characters.
class ChineseWordsTest : public testing::Test
{
protected:
    ChineseWordsTest()
    {
        std::filesystem::create_directory(folder_ / "finalseg");
        write("dict.txt",
            "北京 100 ns\n北京大学 30 nt\n大学 200 n\n学生 150 n\n生 20 n\n生活 80 v\n在 500 p\n大 300 a\nAT&T 5 nz\n");
        write("finalseg/prob_emit.py",
            "from __future__ import unicode_literals\n\nP={'B': {'\\u676d': -7.0,\n       '\\u5927': -6.0},\n 'E': "
            "{'\\u7814': "
            "-7.5,\n       '\\u53a6': -6.5},\n 'M': {'\\u6d77': -8.0},\n 'S': {'\\u4e86': -3.0,\n       '\\u5728': "
            "-3.5,\n  "
            "     '\\u7814': -9.0}}\n");
    }

    void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

    std::vector<std::string> cut(const std::string& text) const
    {
        std::vector<std::string> words;
        for (const Characters& word : ChineseWords(folder_.path()).cut(characters_of(text)))
            words.push_back(utf8_of(word));
        return words;
    }

    TemporaryFolder folder_;
};

TEST_F(ChineseWordsTest, AreTheLikeliestOfTheDictionaryAndThenOfTheModel)
{
    EXPECT_THAT(cut("北京大学生活在杭研大厦"), ElementsAre("北京大学", "生活", "在", "杭研", "大厦"));
    EXPECT_THAT(cut("北京大学生"), ElementsAre("北京", "大", "学生"));
    EXPECT_THAT(cut("杭海研了"), ElementsAre("杭海研", "了"));
    EXPECT_THAT(cut("龘龘龘"), ElementsAre("龘", "龘", "龘"));
    EXPECT_THAT(cut("大生"), ElementsAre("大生"));
    EXPECT_THAT(cut(""), ElementsAre());
}

TEST_F(ChineseWordsTest, KeepNumbersAndLatinTogetherAndSeparatorsApart)
{
    EXPECT_THAT(cut("AT&T 3.5%的\r\nx，y"), ElementsAre("AT&T", " ", "3.5%", "的", "\r\n", "x", "，", "y"));
    EXPECT_THAT(cut("在了3.5.7ab%-c"), ElementsAre("在", "了", "3.5", ".", "7ab%", "-", "c"));
}

TEST_F(ChineseWordsTest, NameTheFileThatIsNotWhatItShouldBe)
{
    const auto message = [&] {
        try {
            ChineseWords words(folder_.path());
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    write("finalseg/prob_emit.py", "P={'B': {'x': -1}}");
    EXPECT_THAT(message(), HasSubstr("prob_emit.py: 'x' is not a character"));
    write("finalseg/prob_emit.py", "");
    EXPECT_THAT(message(), HasSubstr("prob_emit.py says nothing of state B"));
    write("dict.txt", "北京 100 ns\n北京\n");
    EXPECT_THAT(message(), HasSubstr("dict.txt: line 2 is not a word and its frequency"));
    std::filesystem::remove(folder_ / "dict.txt");
    EXPECT_THAT(message(), HasSubstr("dict.txt: cannot be read"));
}

TEST(ChineseMetrics, AreTheOfficialOnesWithTheWholeDictionary)
{
    const std::filesystem::path folder = "/usr/lib/python3/dist-packages/jieba";
    if (!std::filesystem::exists(folder / "dict.txt"))
        GTEST_SKIP() << "Debian's python3-jieba is not installed";
    const ChineseWords words(folder);
    const std::vector<std::string> answers = {"小明来到杭研大厦"};
    EXPECT_DOUBLE_EQ(score("qa_f1_zh", "multifieldqa_zh", "他来到了网易杭研大厦。", answers, {}, &words), 0.6);
    EXPECT_NEAR(score("rouge_zh", "vcsum", "他来到了网易杭研大厦。", answers, {}, &words), 0.5454545408264463, 1e-12);
}

} // namespace
} // namespace lava
