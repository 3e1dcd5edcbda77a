#include "capture/jobs.h"

#include "base/error.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace lava {
namespace {

using Ids = std::vector<std::int64_t>;

std::vector<CaptureJob> jobs_of(const std::string& text)
{
    const TemporaryFolder folder;
    std::ofstream(folder / "p.jsonl") << text;
    return read_jobs(folder / "p.jsonl");
}

std::string refusal(const std::string& text)
{
    try {
        jobs_of(text);
    } catch (const Error& error) {
        const std::string message = error.what();
        return message.substr(message.find("p.jsonl"));
    }
    return "none";
}

TEST(CaptureJobs, AreOneALine)
{
    const auto jobs = jobs_of(
        "{\"id\": \"a-1\", \"prompt\": \"Once\", \"chat\": true, \"answer_prefix\": \"The\", \"reference\": \"end\", "
        "\"spans\": [{\"name\": \"all\", \"begin\": 0, \"end\": 4}]}\n\n"
        "{\"ids\": [1, 2], \"reference\": [3]}\n{\"id\": 7, \"prompt\": \"x\"}");
    ASSERT_EQ(jobs.size(), 3u);
    EXPECT_EQ(jobs[0].id, "a-1");
    EXPECT_EQ(std::get<std::string>(jobs[0].request.source), "Once");
    EXPECT_TRUE(jobs[0].request.chat);
    EXPECT_EQ(jobs[0].request.answer_prefix, "The");
    EXPECT_EQ(jobs[0].request.spans.size(), 1u);
    EXPECT_EQ(std::get<std::string>(jobs[0].reference), "end");
    EXPECT_EQ(jobs[1].id, "00003") << "the line's number";
    EXPECT_EQ(std::get<Ids>(jobs[1].request.source), (Ids{1, 2}));
    EXPECT_EQ(std::get<Ids>(jobs[1].reference), (Ids{3}));
    EXPECT_EQ(jobs[2].id, "7");
    EXPECT_EQ(jobs[2].reference.index(), 0u);
    EXPECT_TRUE(needs_tokenizer(jobs));
    EXPECT_FALSE(needs_tokenizer({jobs[1]}));
}

TEST(CaptureJobs, MayHaveSpansInTokensAndWhatTheAnswerIsScoredBy)
{
    const auto jobs = jobs_of(R"({"ids": [4, 5, 6], "spans": [{"name": "needle", "begin": 1, "end": 3}], )"
                              R"("answers": ["7"], "task": "mine", "max_new_tokens": 8, "all_classes": null})");
    ASSERT_EQ(jobs.size(), 1u);
    const Prompt prompt = build_prompt(nullptr, jobs[0].request);
    ASSERT_EQ(prompt.spans.size(), 1u);
    EXPECT_EQ(prompt.spans[0].begin, 1);
    EXPECT_EQ(prompt.spans[0].end, 3);
    EXPECT_EQ(prompt.tokenization,
        R"({"answer_prefix":"","chat":false,"scoring":{"all_classes":null,"answers":["7"],"max_new_tokens":8,)"
        R"("task":"mine"},"source":"ids"})");
    EXPECT_EQ(refusal(R"({"ids": [1], "answers": []})"),
        "p.jsonl: line 1: answers: expected a list of at least one string, found []");
    EXPECT_EQ(refusal(R"({"ids": [1], "max_new_tokens": 0})"),
        "p.jsonl: line 1: max_new_tokens: expected a number of tokens, found 0");
    const auto beyond = jobs_of(R"({"ids": [4], "spans": [{"name": "n", "begin": 0, "end": 2}]})");
    EXPECT_THAT([&] { build_prompt(nullptr, beyond[0].request); },
        testing::ThrowsMessage<Error>("span n: expected 0 <= begin < end <= 1 tokens of the prompt, found 0..2"));
}

TEST(CaptureJobs, NameLineAndFault)
{
    EXPECT_EQ(refusal("{\"prompt\": \"a\"}\nonce upon"),
        "p.jsonl: line 2: expected a JSON object, found something else at byte 1");
    EXPECT_EQ(refusal("{\"ids\": " + std::string(200'000, '[')), "p.jsonl: line 1: JSON nested deeper than 200 levels");
    EXPECT_EQ(refusal("[1]"), "p.jsonl: line 1: expected a JSON object, found array");
    EXPECT_EQ(refusal("\n\n{}"), "p.jsonl: line 3: expected prompt or ids, found neither");
    EXPECT_EQ(refusal(R"({"prompt": "a", "ids": [1]})"), "p.jsonl: line 1: expected prompt or ids, found both");
    EXPECT_EQ(refusal(R"({"prompt": 3})"), "p.jsonl: line 1: prompt: expected a string, found 3");
    EXPECT_EQ(refusal(R"({"prompts": "a"})"),
        "p.jsonl: line 1: unknown key \"prompts\": expected prompt, ids, chat, answer_prefix, reference, spans or id, "
        "or "
        "what the answer is scored by (task, answers, all_classes, max_new_tokens, metric, stop)");
    EXPECT_EQ(refusal(R"({"prompt": "a", "chat": 1})"), "p.jsonl: line 1: chat: expected true or false, found 1");
    EXPECT_EQ(
        refusal(R"({"ids": [1], "chat": true})"), "p.jsonl: line 1: ids and chat contradict each other: give one");
    EXPECT_EQ(refusal(R"({"ids": [1, "a"]})"), "p.jsonl: line 1: ids: element 1: expected a token id, found \"a\"");
    EXPECT_EQ(refusal(R"({"prompt": "a", "reference": []})"),
        "p.jsonl: line 1: reference: expected a JSON array of token ids, found an empty one");
    EXPECT_EQ(refusal(R"({"prompt": "a", "id": "../x"})"),
        "p.jsonl: line 1: id: expected letters, digits, '.', '_' and '-', found \"../x\"");
    EXPECT_EQ(refusal("{\"prompt\": \"a\", \"id\": \"x\"}\n{\"prompt\": \"b\", \"id\": \"x\"}"),
        "p.jsonl: line 2: id x: line 1 has it, too");
    EXPECT_EQ(refusal("\n"), "p.jsonl: expected a JSON object a line, found none");
    EXPECT_EQ(refusal(""), "p.jsonl: is empty");
}

} // namespace
} // namespace lava
