// Answers of the free-running closed loop: where they end, and their text.

#include "base/error.h"
#include "replay/closed_loop/answer_rule.h"
#include "replay/closed_loop/answer_texts.h"
#include "replay/closed_loop/closed_loop.h"
#include "tests/replay/closed_loop_cells.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace lava {
namespace {

using ::testing::AllOf;
using testing::answer_naively;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Ids;
using testing::kept_of;
using testing::ragged_report;
using testing::story_model;
using ::testing::ThrowsMessage;

/// The story's trace, whose prompt's answer is scored as `scoring` says.
std::filesystem::path record_scored_story(const std::string& name, const std::string& scoring)
{
    const auto file = testing::story_folder() / (name + ".h5");
    testing::record_story(file, {}, story_model, scoring.empty() ? "" : R"({"scoring":)" + scoring + "}");
    return file;
}

ModelConfig model_of(std::int64_t vocab_size, Ids end)
{
    ModelConfig config;
    config.vocab_size = vocab_size;
    config.eos_token_ids = std::move(end);
    return config;
}

AnswerRule rule_of(const std::string& scoring, std::int64_t length = 0)
{
    TraceInfo trace;
    trace.file = "t.h5";
    trace.tokenization = R"({"scoring":)" + scoring + "}";
    return answer_rule(trace, model_of(100, {2, 3}), length, 16);
}

TEST(AnswerRule, IsThePromptsOwn)
{
    const auto rule = rule_of(R"({"max_new_tokens":128,"stop":{"eos":true,"ids":[17],"min_new_tokens":1}})");
    EXPECT_EQ(rule.length, 128);
    EXPECT_THAT(rule.stop.ids, ElementsAre(2, 3, 17));
    EXPECT_EQ(rule.stop.min_new_tokens, 1);
    EXPECT_THAT(rule_of(R"({"stop":{"eos":false,"ids":[17]}})").stop.ids, ElementsAre(17));
    EXPECT_EQ(rule_of(R"({"max_new_tokens":128})", 7).length, 7);
}

TEST(AnswerRule, IsTheModelsEndWhereThePromptHasNone)
{
    for (const char* scoring : {"null", R"({"task":"vt"})"}) {
        const auto rule = scoring == std::string("null") ? answer_rule(TraceInfo(), model_of(100, {2, 3}), 0, 16)
                                                         : rule_of(scoring);
        EXPECT_EQ(rule.length, 16);
        EXPECT_THAT(rule.stop.ids, ElementsAre(2, 3));
        EXPECT_EQ(rule.stop.min_new_tokens, 0);
    }
}

TEST(AnswerRule, RefusesWhatMakesNoSense)
{
    const auto expect = [](const std::string& scoring, const std::string& message) {
        EXPECT_THAT([&] { rule_of(scoring); },
            ThrowsMessage<Error>(AllOf(HasSubstr("t.h5: /run: tokenization: scoring: "), HasSubstr(message))));
    };
    expect(R"({"max_new_tokens":0})", "max_new_tokens: expected 1 to 1000000 tokens, found 0");
    expect(R"({"max_new_tokens":"many"})", "max_new_tokens: expected 1 to 1000000 tokens, found \"many\"");
    expect(R"({"stop":"eos"})", "stop: expected an object, found \"eos\"");
    expect(R"({"stop":{"ids":[100]}})", "stop: ids: expected a list of token ids below 100, found [100]");
    expect(R"({"stop":{"words":["."]}})", "stop: expected eos (true or false), ids and min_new_tokens, found");
    expect(R"({"stop":{"min_new_tokens":-1}})", "stop: min_new_tokens: expected 0 to 1000000 tokens, found -1");
}

/// `ids` up to the first that is in `stop`; -1 behind it.
Ids stopped(Ids ids, const std::set<std::int64_t>& stop)
{
    const auto end = std::find_if(ids.begin(), ids.end(), [&](auto id) { return stop.contains(id); });
    if (end != ids.end())
        std::fill(end + 1, ids.end(), -1);
    return ids;
}

Ids answer_of(const ReplayReport& report, std::size_t policy, std::size_t budget)
{
    const auto& ids = report.policies[policy].closed_loop.generated_ids;
    const auto length = report.closed_loop.generated_ids.size();
    return {ids.begin() + static_cast<std::ptrdiff_t>(budget * length),
        ids.begin() + static_cast<std::ptrdiff_t>((budget + 1) * length)};
}

TEST(Answers, EndAtTheStopRuleEachByItself)
{
    constexpr std::int64_t length = 40;
    const auto unscored = record_scored_story("unscored", "");
    const Trace plain(unscored);
    const auto decoder = open_model_of(plain, story_model);
    auto unstopped = ragged_report(plain.info());
    const auto first = plain.info().eval_ids.front();
    // a token that some of the answers have, and at different places
    const auto some = answer_naively(story_model, plain, kept_of(unstopped, 0, 1), first, length);
    const auto stop = some[5];
    const Trace trace(record_scored_story(
        "scored", R"({"max_new_tokens":40,"stop":{"eos":true,"ids":[)" + std::to_string(stop) + R"(]}})"));
    auto report = ragged_report(trace.info());
    add_closed_loop(trace, decoder, {.free = true, .threads = 2}, report);
    add_closed_loop(plain, decoder, {}, unstopped);
    std::set<std::ptrdiff_t> lengths;
    for (std::size_t p = 0; p < report.policies.size(); ++p) {
        for (std::size_t g = 0; g < report.policies[p].budgets.size(); ++g) {
            const auto found = answer_of(report, p, g);
            const auto all = answer_naively(story_model, trace, kept_of(report, p, g), first, length);
            EXPECT_EQ(found, stopped(all, {2, stop})) << "policy " << p << ", budget " << g;
            lengths.insert(std::find(found.begin(), found.end(), -1) - found.begin());
        }
        EXPECT_EQ(report.policies[p].closed_loop.kl, unstopped.policies[p].closed_loop.kl);
    }
    EXPECT_GT(lengths.size(), 2u); // or the test tells little
    EXPECT_EQ(report.closed_loop.steps(), testing::story_steps);
}

/// Most likely tokens that are not `banned`, of the model run over the prompt and then over them; no batch.
Ids answer_without(const Trace& trace, const Decoder& decoder, std::int64_t banned, std::int64_t count)
{
    const c10::InferenceMode inference;
    KvCache cache;
    Ids input = trace.info().prompt_ids, ids;
    while (std::ssize(ids) < count) {
        const auto logits = decoder.forward(input, cache, nullptr, false)[0].clone();
        logits[banned] = -INFINITY;
        input = {logits.argmax().item<std::int64_t>()};
        ids.push_back(input.front());
    }
    return ids;
}

TEST(Answers, DoNotEndBeforeTheLeastNumberOfTokens)
{
    const auto next = Trace(record_scored_story("unscored", "")).info().next_id;
    const auto stop = R"({"eos":false,"ids":[)" + std::to_string(next) + "]";
    const auto dense_answer = [&](const std::string& rule) {
        const Trace trace(record_scored_story("least", R"({"max_new_tokens":6,"stop":)" + stop + rule + "}}"));
        auto report = ragged_report(trace.info());
        add_closed_loop(trace, open_model_of(trace, story_model), {.free = true}, report);
        EXPECT_EQ(report.closed_loop.next_id, next);
        return report.closed_loop.generated_ids;
    };
    EXPECT_EQ(dense_answer(""), (Ids{next, -1, -1, -1, -1, -1}));
    const Trace trace(record_scored_story("unscored", ""));
    EXPECT_EQ(
        dense_answer(R"(,"min_new_tokens":6)"), answer_without(trace, open_model_of(trace, story_model), next, 6));
}

TEST(Answers, HaveALengthOfTheirOwn)
{
    const Trace trace(record_scored_story("unscored", ""));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    for (const std::int64_t length : {1, 3, 11}) {
        add_closed_loop(trace, decoder, {.free = true, .answer_length = length}, report);
        const auto all = kept_of(report, 1, 3);
        EXPECT_EQ(report.closed_loop.generated_ids,
            answer_naively(story_model, trace, all, trace.info().eval_ids.front(), length));
        EXPECT_EQ(report.closed_loop.steps(), testing::story_steps);
    }
    EXPECT_THAT([&] { check_closed_loop(trace, decoder, {.free = true, .answer_length = 400}); },
        ThrowsMessage<Error>(HasSubstr("expected at most 512 tokens, the model's context, found 550")));
}

TEST(Answers, HaveTheTextThatTheTokenizerDecodes)
{
    const auto tokenizer = read_tokenizer(story_model);
    const auto dense = tokenizer->encode("Lily was \xc3\xa9.", false).ids;
    ReplayReport report;
    auto& policy = report.policies.emplace_back();
    policy.budgets = {4, 8};
    report.closed_loop.generated_ids = dense;
    report.closed_loop.generated_ids.push_back(2);
    const auto length = report.closed_loop.generated_ids.size();
    policy.closed_loop.generated_ids.assign(2 * length, -1);
    policy.closed_loop.generated_ids[0] = 2; // the end of text alone
    std::copy(dense.begin(), dense.begin() + 2, policy.closed_loop.generated_ids.begin() + std::ssize(dense) + 1);
    decode_answers(OfficialDecoder(*tokenizer, story_model), report);
    EXPECT_EQ(report.closed_loop.generated_text, " Lily was \xc3\xa9.");
    EXPECT_THAT(policy.closed_loop.generated_texts, ElementsAre("", tokenizer->decode({dense[0], dense[1]})));
    name_tokens(*tokenizer, report);
    EXPECT_GE(report.closed_loop.token_ids.front(), 0);
}

} // namespace
} // namespace lava
