#include "replay/closed_loop/closed_loop.h"

#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "tests/replay/closed_loop_cells.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

namespace lava {
namespace {

using ::testing::AllOf;
using testing::answer_naively;
using ::testing::ElementsAre;
using testing::expect_all_cells;
using testing::expect_near;
using ::testing::HasSubstr;
using testing::Ids;
using ::testing::IsEmpty;
using testing::kept_of;
using testing::ragged_report;
using ::testing::ThrowsMessage;

using testing::story_model;
constexpr auto prompt_length = testing::story_tokens, recorded_steps = testing::story_steps;

std::filesystem::path record_story(const std::string& name, const Ids& reference = {})
{
    const auto file = testing::story_folder() / (name + ".h5");
    testing::record_story(file, reference);
    return file;
}

std::vector<std::string> notes_of(const Trace& trace, const Decoder& decoder, ReplayReport& report)
{
    std::vector<std::string> notes;
    ReplayObserver observer;
    observer.note = [&](const std::string& note) { notes.push_back(note); };
    add_closed_loop(trace, decoder, {}, report, observer);
    return notes;
}

TEST(ClosedLoop, IsAPlainDecodeOfEachRowWithMasks)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    add_closed_loop(trace, decoder, {}, report);
    EXPECT_EQ(report.closed_loop.input_ids, trace.info().eval_ids);
    expect_all_cells(trace, report);
}

TEST(ClosedLoop, GoesOnWithWhatTheDenseRunSays)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    constexpr std::int64_t steps = 70; // more decode entries than a block holds
    add_closed_loop(trace, decoder, {.steps = steps}, report);
    const auto& info = trace.info();
    const auto all = at::ones({info.shape.num_layers, info.shape.num_kv_heads, info.seq_len}, at::kBool);
    EXPECT_EQ(report.closed_loop.input_ids, answer_naively(story_model, trace, all, info.eval_ids.front(), steps));
    expect_all_cells(trace, report);
}

TEST(ClosedLoop, AFewStepsAreTheFirstOfMore)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    add_closed_loop(trace, decoder, {.steps = 1}, report);
    EXPECT_TRUE(report.policies[0].closed_loop.cross_entropy.empty()); // no input follows
    add_closed_loop(trace, decoder, {.steps = 3}, report);
    EXPECT_EQ(report.closed_loop.steps(), 3);
    expect_all_cells(trace, report);
}

TEST(ClosedLoop, EveryRowAnswersByItself)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    constexpr std::int64_t steps = 70;
    add_closed_loop(trace, decoder, {.steps = steps, .free = true}, report);
    const auto first = trace.info().eval_ids.front();
    for (std::size_t p = 0; p < report.policies.size(); ++p) {
        for (std::size_t g = 0; g < report.policies[p].budgets.size(); ++g) {
            const auto& ids = report.policies[p].closed_loop.generated_ids;
            const Ids found(ids.begin() + static_cast<std::ptrdiff_t>(g) * steps,
                ids.begin() + static_cast<std::ptrdiff_t>(g + 1) * steps);
            auto expected = answer_naively(story_model, trace, kept_of(report, p, g), first, steps);
            if (const auto end = std::ranges::find(expected, 2); end != expected.end())
                std::fill(end + 1, expected.end(), -1);
            EXPECT_EQ(found, expected) << "policy " << p << ", budget " << g;
        }
    }
    EXPECT_EQ(report.closed_loop.generated_ids, report.closed_loop.input_ids);
}

TEST(ClosedLoop, AnAnswerStartsWithWhatThePromptLeadsToWhateverTheReference)
{
    const Trace greedy(record_story("closed_loop"));
    const Trace trace(record_story("closed_loop_reference", {403, 11, 12, 13}));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    add_closed_loop(trace, decoder, {.steps = 4, .free = true}, report);
    EXPECT_EQ(report.closed_loop.input_ids, (Ids{403, 11, 12, 13}));
    auto expected = greedy.info().eval_ids;
    expected.resize(4);
    EXPECT_EQ(report.closed_loop.generated_ids, expected);
}

/// Opens a trace for plain HDF5 calls, after which it has no digests of its groups.
void edit(const std::filesystem::path& file, const std::function<void(hid_t)>& change)
{
    const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    change(id);
    for (const char* group : {"/", "/run", "/tokens"})
        if (H5Aexists_by_name(id, group, "digests", H5P_DEFAULT) > 0)
            H5Adelete_by_name(id, group, "digests", H5P_DEFAULT);
    H5Fclose(id);
}

TEST(ClosedLoop, WhatThePromptLeadsToIsAsRecordedOrElseComputed)
{
    const auto file = record_story("closed_loop_next", {403, 11, 12, 13});
    const auto next_id = [&] {
        const Trace trace(file);
        auto report = ragged_report(trace.info());
        add_closed_loop(trace, open_model_of(trace, story_model), {}, report);
        return report.closed_loop.next_id;
    };
    const auto recorded = next_id();
    EXPECT_EQ(recorded, Trace(file).info().next_id);
    EXPECT_EQ(recorded, Trace(record_story("closed_loop")).info().eval_ids.front());
    edit(file, [](hid_t id) { test::raw_delete(id, "/tokens/next_id"); });
    EXPECT_EQ(next_id(), recorded);
}

TEST(ClosedLoop, SaysWhereWhatThePromptLeadsToCannotBeKnown)
{
    const auto file = record_story("closed_loop_unknown", {403, 11, 12, 13});
    edit(file, [](hid_t id) {
        test::raw_delete(id, "/tokens/next_id");
        test::raw_delete(id, "/tokens/prompt_ids");
    });
    const Trace trace(file);
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    EXPECT_THAT(notes_of(trace, decoder, report), ElementsAre(HasSubstr("whether answers are exact stays open")));
    EXPECT_EQ(report.closed_loop.next_id, -1);
    EXPECT_THAT([&] { add_closed_loop(trace, decoder, {.free = true}, report); },
        ThrowsMessage<Error>(HasSubstr("no prompt_ids recorded")));
}

TEST(ClosedLoop, SaysWhereTokensAreNotThoseOfAGreedyRun)
{
    auto ids = Trace(record_story("closed_loop")).info().eval_ids;
    ids[3] = ids[3] == 11 ? 12 : 11;
    const auto file = record_story("closed_loop_tokens", ids);
    edit(file, [](hid_t id) { test::raw_attribute(id, "/run", "continuation", "greedy"); });
    const Trace trace(file);
    auto report = ragged_report(trace.info());
    EXPECT_THAT(notes_of(trace, open_model_of(trace, story_model), report),
        ElementsAre(AllOf(HasSubstr("predicts otherwise than recorded: at evaluation step 2, token "
                              + std::to_string(ids[3]) + ", which follows in a greedy run, is "),
            HasSubstr("not all of one run"))));
}

/// The small model with its last weights set to 0.
std::filesystem::path altered_model()
{
    const auto model = testing::story_folder() / "altered_model";
    std::filesystem::remove_all(model);
    std::filesystem::copy(story_model, model, std::filesystem::copy_options::recursive);
    const std::string zeros(40'000, '\0');
    std::fstream weights(model / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    weights.seekp(-std::ssize(zeros), std::ios::end);
    weights.write(zeros.data(), std::ssize(zeros));
    return model;
}

TEST(ClosedLoop, SaysWhereTheModelPredictsOtherwiseThanRecorded)
{
    const Trace trace(record_story("closed_loop_logits", {403, 11, 12, 13}));
    auto report = ragged_report(trace.info());
    EXPECT_THAT(notes_of(trace, Decoder(Checkpoint(story_model), {}), report), IsEmpty());
    EXPECT_THAT(notes_of(trace, Decoder(Checkpoint(altered_model()), {}), report),
        ElementsAre(HasSubstr("predicts otherwise than recorded: at evaluation step 0, its logits diverge from /logits "
                              "by ")));
}

TEST(ClosedLoop, TheWholeCacheIsTheDenseRunExactly)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    add_closed_loop(trace, decoder, {}, report);
    const auto& found = report.policies[1].closed_loop;
    const auto tail
        = [](const auto& values) { return std::vector(values.end() - std::ssize(values) / 4, values.end()); };
    EXPECT_THAT(tail(found.kl), ::testing::Each(0));
    EXPECT_THAT(tail(found.drift_l1), ::testing::Each(0));
    EXPECT_THAT(tail(found.drift_l2), ::testing::Each(0));
    EXPECT_EQ(tail(found.cross_entropy), report.closed_loop.cross_entropy);
    EXPECT_EQ(tail(found.top_ids), report.closed_loop.top_ids);
}

TEST(ClosedLoop, IsTheSameForAnyNumberOfThreads)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto one = ragged_report(trace.info()), several = ragged_report(trace.info());
    add_closed_loop(trace, decoder, {.steps = 20, .free = true, .threads = 1}, one);
    add_closed_loop(trace, decoder, {.steps = 20, .free = true, .threads = 3}, several);
    EXPECT_EQ(one.closed_loop.resid_l2, several.closed_loop.resid_l2);
    for (std::size_t p = 0; p < one.policies.size(); ++p) {
        EXPECT_EQ(one.policies[p].closed_loop.kl, several.policies[p].closed_loop.kl);
        EXPECT_EQ(one.policies[p].closed_loop.cross_entropy, several.policies[p].closed_loop.cross_entropy);
        EXPECT_EQ(one.policies[p].closed_loop.drift_l1, several.policies[p].closed_loop.drift_l1);
        EXPECT_EQ(one.policies[p].closed_loop.drift_l2, several.policies[p].closed_loop.drift_l2);
        EXPECT_EQ(one.policies[p].closed_loop.generated_ids, several.policies[p].closed_loop.generated_ids);
    }
}

TEST(ClosedLoop, LayersThatAreReadAnewInEveryStepChangeNothing)
{
    const Trace trace(record_story("closed_loop"));
    const Checkpoint checkpoint(story_model);
    const auto run = [&](bool stream_weights) {
        const Decoder decoder(checkpoint, {.device = "cpu", .dtype = "float32", .stream_weights = stream_weights});
        auto report = ragged_report(trace.info());
        add_closed_loop(trace, decoder, {.steps = 20, .free = true, .threads = 2}, report);
        return report;
    };
    const auto held = run(false), read_anew = run(true);
    EXPECT_EQ(held.closed_loop.generated_ids, read_anew.closed_loop.generated_ids);
    for (std::size_t p = 0; p < held.policies.size(); ++p) {
        EXPECT_EQ(held.policies[p].closed_loop.kl, read_anew.policies[p].closed_loop.kl);
        EXPECT_EQ(held.policies[p].closed_loop.generated_ids, read_anew.policies[p].closed_loop.generated_ids);
    }
}

TEST(ClosedLoop, ARowDoesNotDependOnTheRowsBesideIt)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto all = ragged_report(trace.info()), alone = ragged_report(trace.info());
    alone.policies = {alone.policies[2]};
    auto& replay = alone.policies.front();
    const auto heads = replay.counts.size() / replay.budgets.size();
    replay.budgets = {replay.budgets[1]};
    replay.counts = {replay.counts.begin() + static_cast<std::ptrdiff_t>(heads),
        replay.counts.begin() + static_cast<std::ptrdiff_t>(2 * heads)};
    add_closed_loop(trace, decoder, {.free = true}, all);
    add_closed_loop(trace, decoder, {.free = true}, alone);
    for (std::size_t step = 0; step < recorded_steps; ++step)
        expect_near(
            replay.closed_loop.kl[step], all.policies[2].closed_loop.kl[recorded_steps + step], 1e-4, 1e-12, "KL");
    const auto& ids = all.policies[2].closed_loop.generated_ids;
    EXPECT_EQ(replay.closed_loop.generated_ids, Ids(ids.begin() + recorded_steps, ids.begin() + 2 * recorded_steps));
}

TEST(ClosedLoop, RefusesAnotherModel)
{
    const Trace trace(record_story("closed_loop"));
    const auto other = testing::story_folder() / "other_model";
    std::filesystem::remove_all(other);
    std::filesystem::copy(story_model, other, std::filesystem::copy_options::recursive);
    {
        std::fstream weights(other / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
        weights.seekp(-1, std::ios::end);
        weights.put('\x01');
    }
    EXPECT_THAT([&] { open_model_of(trace, other); },
        ThrowsMessage<Error>(
            HasSubstr("is not the model of " + trace.info().file + ": expected weights with SHA-256")));
}

TEST(ClosedLoop, RefusesMoreStepsThanTheModelsContext)
{
    const Trace trace(record_story("closed_loop"));
    const auto decoder = open_model_of(trace, story_model);
    auto report = ragged_report(trace.info());
    EXPECT_THAT([&] { add_closed_loop(trace, decoder, {.steps = 363}, report); },
        ThrowsMessage<Error>(HasSubstr("expected at most 512 tokens, the model's context, found 513")));
}

} // namespace
} // namespace lava
