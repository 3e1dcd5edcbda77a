#include "base/error.h"
#include "base/hdf5/h5.h"
#include "tests/analysis/example_closed_loop.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace lava {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ClosedLoopFile, ComesBackAsItWas)
{
    const TemporaryFolder folder;
    const auto written = example_with_closed_loop();
    write_report(folder / "report.h5", written);
    const auto read = read_report(folder / "report.h5");
    const auto &a = written.closed_loop, &b = read.closed_loop;
    EXPECT_EQ(a.input_ids, b.input_ids);
    EXPECT_EQ(a.next_id, b.next_id);
    EXPECT_EQ(a.cross_entropy, b.cross_entropy);
    EXPECT_EQ(a.top_ids, b.top_ids);
    EXPECT_EQ(a.resid_l1, b.resid_l1);
    EXPECT_EQ(a.resid_l2, b.resid_l2);
    EXPECT_EQ(a.generated_ids, b.generated_ids);
    EXPECT_EQ(a.generated_text, b.generated_text);
    EXPECT_EQ(a.end_ids, b.end_ids);
    EXPECT_EQ(a.token_ids, b.token_ids);
    EXPECT_EQ(a.token_texts, b.token_texts);
    for (std::size_t i = 0; i < written.policies.size(); ++i) {
        const auto &c = written.policies[i].closed_loop, &d = read.policies[i].closed_loop;
        EXPECT_EQ(c.kl, d.kl);
        EXPECT_EQ(c.cross_entropy, d.cross_entropy);
        EXPECT_EQ(c.top_ids, d.top_ids);
        EXPECT_EQ(c.drift_l1, d.drift_l1);
        EXPECT_EQ(c.drift_l2, d.drift_l2);
        EXPECT_EQ(c.generated_ids, d.generated_ids);
        EXPECT_EQ(c.generated_texts, d.generated_texts);
    }
}

TEST(ClosedLoopFile, AnswersOfAnotherLengthThatEndEarlyComeBack)
{
    const TemporaryFolder folder;
    auto report = example_with_closed_loop();
    report.closed_loop.generated_ids = {7, 302, 2, -1};
    report.closed_loop.generated_text = "";
    for (auto& policy : report.policies) {
        policy.closed_loop.generated_ids = {7, 302, 2, -1, 7, -1, -1, -1, 7, 300, 301, 302};
        policy.closed_loop.generated_texts = {"", "", ""};
    }
    write_report(folder / "report.h5", report);
    const auto read = read_report(folder / "report.h5");
    EXPECT_EQ(read.closed_loop.generated_ids, report.closed_loop.generated_ids);
    EXPECT_EQ(read.closed_loop.generated_text, "");
    EXPECT_EQ(read.policies[1].closed_loop.generated_ids, report.policies[1].closed_loop.generated_ids);
    EXPECT_EQ(read.policies[1].closed_loop.generated_texts, report.policies[1].closed_loop.generated_texts);
}

TEST(ClosedLoopFile, OfOneStepWithoutAnswersComesBackToo)
{
    const TemporaryFolder folder;
    auto report = example_report();
    report.closed_loop.input_ids = report.closed_loop.top_ids = {7};
    report.closed_loop.resid_l1 = report.closed_loop.resid_l2 = {1, 2, 3};
    for (auto& policy : report.policies) {
        policy.closed_loop.kl = {3, 2, 1};
        policy.closed_loop.top_ids = {7, 8, 9};
        policy.closed_loop.drift_l1 = policy.closed_loop.drift_l2 = std::vector<float>(9, 1.5F);
    }
    write_report(folder / "report.h5", report);
    const auto read = read_report(folder / "report.h5");
    EXPECT_EQ(read.closed_loop.steps(), 1);
    EXPECT_EQ(read.closed_loop.next_id, -1);
    EXPECT_TRUE(read.closed_loop.cross_entropy.empty());
    EXPECT_TRUE(read.policies[2].closed_loop.generated_ids.empty());
    EXPECT_EQ(read.policies[2].closed_loop.kl, (std::vector<double>{3, 2, 1}));
}

TEST(ClosedLoopFile, AReportWithoutOneHasNone)
{
    const TemporaryFolder folder;
    write_report(folder / "report.h5", example_report());
    EXPECT_TRUE(read_report(folder / "report.h5").closed_loop.empty());
}

/// What is said of a report in which something is wrong.
void expect_refused(const std::function<void(ReplayReport&)>& spoil, const std::string& message)
{
    const TemporaryFolder folder;
    auto report = example_with_closed_loop();
    spoil(report);
    EXPECT_THAT([&] { write_report(folder / "report.h5", report); }, ThrowsMessage<Error>(HasSubstr(message)));
}

TEST(ClosedLoopFile, RefusesWhatMakesNoSense)
{
    expect_refused([](ReplayReport& report) { report.closed_loop.next_id = -2; },
        "/closed_loop/next_id: expected an id of at least 0, found -2");
    expect_refused([](ReplayReport& report) { report.policies[1].closed_loop.kl.pop_back(); },
        "/policies/0001/closed_loop/kl: expected 9 values, found 8");
    expect_refused([](ReplayReport& report) { report.policies[0].closed_loop.kl[3] = -1; },
        "/policies/0000/closed_loop/kl: expected finite numbers of at least 0, found -1");
    expect_refused([](ReplayReport& report) { report.policies[0].closed_loop.drift_l2[0] = INFINITY; },
        "/policies/0000/closed_loop/drift_l2: expected finite numbers");
    expect_refused([](ReplayReport& report) { report.closed_loop.cross_entropy.push_back(1); },
        "/closed_loop/cross_entropy: expected 2 values, found 3");
    expect_refused(
        [](ReplayReport& report) { std::swap(report.closed_loop.token_ids[0], report.closed_loop.token_ids[1]); },
        "/closed_loop/token_ids: expected ascending ids");
    expect_refused([](ReplayReport& report) { report.closed_loop.token_texts.pop_back(); },
        "/closed_loop/token_ids: expected as many ids as token_texts, 4, found 5");
    expect_refused([](ReplayReport& report) { report.policies[0].closed_loop.generated_ids[3] = -1; },
        "/policies/0000/closed_loop/generated_ids: expected ids of at least 0, then -1 behind an answer's end, found "
        "-1");
    expect_refused([](ReplayReport& report) { report.policies[0].closed_loop.generated_ids[1] = -1; },
        "/policies/0000/closed_loop/generated_ids: expected ids of at least 0, then -1 behind an answer's end, found "
        "2");
    expect_refused([](ReplayReport& report) { report.closed_loop.generated_ids.push_back(-1); },
        "/policies/0000/closed_loop/generated_ids: expected 12 values, found 9");
    expect_refused([](ReplayReport& report) { report.policies[1].closed_loop.generated_texts.pop_back(); },
        "/policies/0001/closed_loop/generated_texts: expected 3 texts, found 2");
}

} // namespace
} // namespace lava
