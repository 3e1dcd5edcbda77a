#include "analysis/replay_report.h"

#include "base/error.h"
#include "tests/analysis/example_report.h"
#include "tests/analysis/raw_h5.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <limits>
#include <thread>

namespace lava {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

void expect_equal(const PolicyReplay& a, const PolicyReplay& b)
{
    EXPECT_EQ(a.policy, b.policy);
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.variant, b.variant);
    EXPECT_EQ(a.parameters, b.parameters);
    EXPECT_EQ(a.window, b.window);
    EXPECT_EQ(a.budgets, b.budgets);
    EXPECT_EQ(a.asked, b.asked);
    EXPECT_EQ(a.granted, b.granted);
    EXPECT_EQ(a.ranking, b.ranking);
    EXPECT_EQ(a.counts, b.counts);
    EXPECT_EQ(a.head_l1, b.head_l1);
    EXPECT_EQ(a.head_output_l1, b.head_output_l1);
    EXPECT_EQ(a.head_output_l2, b.head_output_l2);
    EXPECT_EQ(a.attn_out_l1, b.attn_out_l1);
    EXPECT_EQ(a.attn_out_l2, b.attn_out_l2);
    EXPECT_EQ(a.bound_lava, b.bound_lava);
    EXPECT_EQ(a.bound_adakv, b.bound_adakv);
    EXPECT_EQ(a.bound_projected, b.bound_projected);
}

void expect_equal(const TraceInfo& a, const TraceInfo& b)
{
    EXPECT_EQ(a.file, b.file);
    EXPECT_EQ(a.format_major, b.format_major);
    EXPECT_EQ(a.format_minor, b.format_minor);
    EXPECT_EQ(a.generator, b.generator);
    EXPECT_EQ(a.model_name, b.model_name);
    EXPECT_EQ(a.model_config, b.model_config);
    EXPECT_EQ(a.weights_sha256, b.weights_sha256);
    EXPECT_EQ(a.attn_out_at, b.attn_out_at);
    EXPECT_EQ(a.device, b.device);
    EXPECT_EQ(a.run_dtype, b.run_dtype);
    EXPECT_EQ(a.continuation, b.continuation);
    EXPECT_EQ(a.tokenization, b.tokenization);
    EXPECT_EQ(a.store_type, b.store_type);
    EXPECT_EQ(a.shape, b.shape);
    EXPECT_EQ(a.layer_numbers, b.layer_numbers);
    EXPECT_EQ(a.kv_head_numbers, b.kv_head_numbers);
    EXPECT_EQ(a.vocab_size, b.vocab_size);
    EXPECT_EQ(a.seq_len, b.seq_len);
    EXPECT_EQ(a.eval_len, b.eval_len);
    EXPECT_EQ(a.window, b.window);
    EXPECT_EQ(a.prompt_ids, b.prompt_ids);
    EXPECT_EQ(a.prompt_texts, b.prompt_texts);
    EXPECT_EQ(a.eval_ids, b.eval_ids);
    EXPECT_EQ(a.eval_texts, b.eval_texts);
    EXPECT_EQ(a.spans, b.spans);
    EXPECT_EQ(a.has_losses, b.has_losses);
    EXPECT_EQ(a.has_outputs, b.has_outputs);
    EXPECT_EQ(a.has_observed_attention, b.has_observed_attention);
    EXPECT_EQ(a.has_logits, b.has_logits);
}

void expect_equal(const ReplayReport& a, const ReplayReport& b)
{
    EXPECT_EQ(a.generator, b.generator);
    expect_equal(a.trace, b.trace);
    EXPECT_EQ(a.deviations, b.deviations);
    EXPECT_EQ(a.norms.head_output_l1, b.norms.head_output_l1);
    EXPECT_EQ(a.norms.head_output_l2, b.norms.head_output_l2);
    EXPECT_EQ(a.norms.attn_out_l1, b.norms.attn_out_l1);
    EXPECT_EQ(a.norms.attn_out_l2, b.norms.attn_out_l2);
    ASSERT_EQ(a.policies.size(), b.policies.size());
    for (std::size_t i = 0; i < a.policies.size(); ++i)
        expect_equal(a.policies[i], b.policies[i]);
}

ReplayReport round_trip(const ReplayReport& report)
{
    const TemporaryFolder folder;
    write_report(folder / "report.h5", report);
    return read_report(folder / "report.h5");
}

std::string message_of(const std::function<void()>& action)
{
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

/// What the reader says of the example report after `damage`.
std::string refusal(const std::function<void(const RawFile&)>& damage)
{
    const TemporaryFolder folder;
    write_report(folder / "report.h5", example_report());
    damage(RawFile(folder / "report.h5"));
    return message_of([&] { read_report(folder / "report.h5"); });
}

/// What the writer says of the example report after `damage`.
std::string write_refusal(const std::function<void(ReplayReport&)>& damage)
{
    const TemporaryFolder folder;
    ReplayReport report = example_report();
    damage(report);
    const std::string message = message_of([&] { write_report(folder / "report.h5", report); });
    EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "something was left behind";
    return message;
}

TEST(Report, ReadsBackEverythingItWasGiven)
{
    ReplayReport report = example_report();
    report.trace.store_type = StoreType::bf16;
    report.policies[0].variant = "official";
    expect_equal(round_trip(report), report);
}

TEST(Report, ReadsBackWithoutLossesTokensAndSpans)
{
    ReplayReport report = example_report_without_losses();
    report.trace.prompt_ids.clear();
    report.trace.prompt_texts.clear();
    report.trace.spans.clear();
    report.policies[0].parameters.clear();
    const ReplayReport found = round_trip(report);
    EXPECT_FALSE(found.has_losses());
    expect_equal(found, report);
}

TEST(Report, ReadsBackWhichPartOfTheModelItIsOf)
{
    ReplayReport report = example_report();
    report.trace.layer_numbers = {3, 4, 8};
    report.trace.kv_head_numbers = {1, 6};
    expect_equal(round_trip(report), report);
}

TEST(Report, ReadsBackAPolicyWithoutBounds)
{
    ReplayReport report = example_report();
    PolicyReplay& changing = report.policies[1];
    changing.bound_lava = changing.bound_adakv = changing.bound_projected = {};
    expect_equal(round_trip(report), report);
    changing.bound_adakv = example_report().policies[1].bound_adakv; // some bounds and not the others
    EXPECT_THROW(round_trip(report), Error);
}

TEST(Report, ReadsBackTextsOfAnyBytesAndEmptyOnes)
{
    ReplayReport report = example_report();
    report.trace.prompt_texts[3] = std::string("\0\xff\n", 3);
    report.trace.prompt_texts[4] = "";
    report.trace.eval_texts = {"", ""};
    expect_equal(round_trip(report), report);
}

TEST(Report, RemembersWhereItWasReadFrom)
{
    const TemporaryFolder folder;
    write_report(folder / "report.h5", example_report());
    EXPECT_EQ(read_report(folder / "report.h5").file, (folder / "report.h5").string());
}

TEST(Report, GivesTheSameBytesEveryTime)
{
    const TemporaryFolder folder;
    write_report(folder / "a.h5", example_report());
    std::this_thread::sleep_for(std::chrono::milliseconds(1100)); // HDF5 would store whole seconds
    write_report(folder / "b.h5", example_report());
    EXPECT_EQ(file_bytes(folder / "a.h5"), file_bytes(folder / "b.h5"));
}

TEST(Report, StoresRankingsAsSmallAsTheyFit)
{
    const TemporaryFolder folder;
    write_report(folder / "report.h5", example_report());
    const RawFile raw(folder / "report.h5");
    EXPECT_TRUE(raw.stores("/policies/0001/ranking", H5T_STD_U16LE));
    EXPECT_THAT(raw.shape("/policies/0001/ranking"), ElementsAre(3, 2, 24));
    EXPECT_THAT(raw.read<std::uint32_t>("/policies/0001/ranking"),
        ::testing::ElementsAreArray(example_report().policies[1].ranking));
    EXPECT_EQ(raw.read<double>("/policies/0002/bound_lava"), example_report().policies[2].bound_lava);
}

TEST(Report, StoresRankingsOfLongPromptsAsU32)
{
    ReplayReport report = example_report_without_losses();
    report.trace.shape = {.num_layers = 1, .num_heads = 1, .num_kv_heads = 1, .head_dim = 8, .hidden_size = 8};
    report.trace.seq_len = 65536;
    report.trace.prompt_ids.clear();
    report.trace.prompt_texts.clear();
    report.policies.resize(1);
    report.policies[0].ranking.resize(65536);
    std::iota(report.policies[0].ranking.rbegin(), report.policies[0].ranking.rend(), 0);
    report.policies[0].counts = {6, 12, 24};
    const TemporaryFolder folder;
    write_report(folder / "report.h5", report);
    EXPECT_TRUE(RawFile(folder / "report.h5").stores("/policies/0000/ranking", H5T_STD_U32LE));
    expect_equal(read_report(folder / "report.h5"), report);
}

TEST(Report, RefusesANewerFormatNamingBothVersions)
{
    EXPECT_THAT(refusal([](const RawFile& raw) { raw.set_attribute("/", "format_major", 2); }),
        AllOf(HasSubstr("report.h5: format version: expected 1.x, found 2.4"), HasSubstr("newer")));
}

TEST(Report, AcceptsANewerMinorVersion)
{
    EXPECT_EQ(refusal([](const RawFile& raw) { raw.set_attribute("/", "format_minor", 7); }), "no error");
}

TEST(Report, RefusesAChangedNumberInAnyDatasetAndNamesIt)
{
    const TemporaryFolder folder;
    const auto refused = [&](const std::function<void(const RawFile&)>& edit) {
        write_report(folder / "report.h5", example_report());
        edit(RawFile(folder / "report.h5", RawFile::Digests::kept));
        return message_of([&] { (void)read_report(folder / "report.h5"); });
    };
    for (const std::string path : {"/policies/0001/head_l1", "/policies/0002/attn_out_l1", "/policies/0000/counts",
             "/policies/0000/nominal", "/policies/0001/ranking", "/norms/head_output_l1", "/trace/prompt_ids"}) {
        EXPECT_THAT(refused([&](const RawFile& raw) {
            auto values = raw.read<double>(path);
            values[values.size() / 2] += 1;
            raw.write(path, values);
        }),
            HasSubstr("report.h5: " + path + ": does not match its digest"));
    }
    EXPECT_THAT(refused([](const RawFile& raw) { raw.set_attribute("/trace", "window", 5); }),
        HasSubstr("report.h5: /trace: attribute window: does not match its digest"));
    EXPECT_THAT(refused([](const RawFile& raw) { raw.remove("/policies/0001/nominal"); }),
        HasSubstr("report.h5: /policies/0001/nominal: missing, though it was written"));
}

TEST(Report, KeepsARankingForEachBudgetAndSharesOneBetweenTwins)
{
    const TemporaryFolder folder;
    auto report = example_report();
    auto twin = report.policies[1];
    twin.match = "retained";
    twin.nominal.assign(twin.budgets.size(), 9);
    twin.ranking.clear();
    twin.ranking_of = 1;
    report.policies.push_back(twin);
    auto& anew = report.policies[0];
    const auto one = anew.ranking;
    for (std::size_t g = 1; g < anew.budgets.size(); ++g)
        anew.ranking.insert(anew.ranking.end(), one.rbegin(), one.rend());
    write_report(folder / "report.h5", report);
    const auto read = read_report(folder / "report.h5");
    EXPECT_EQ(read.policies[0].ranking, anew.ranking);
    EXPECT_TRUE(read.ranks_by_budget(0));
    EXPECT_EQ(read.ranking(0, 1, 2)[0], one[143 - 2 * 2 * 24]);
    EXPECT_EQ(read.policies.back().match, "retained");
    EXPECT_EQ(read.policies.back().nominal, twin.nominal);
    EXPECT_EQ(read.ranking(read.policies.size() - 1, 1, 1).data(), read.ranking(1, 1, 1).data());
}

TEST(Report, WithoutRankingsSaysSoWhenAskedWhichEntriesStay)
{
    const TemporaryFolder folder;
    auto report = example_report();
    report.policies[1].ranking.clear();
    write_report(folder / "report.h5", report);
    const auto read = read_report(folder / "report.h5");
    EXPECT_THAT(message_of([&] { (void)read.ranking(1, 0, 0); }), HasSubstr("report.h5: snapkv"));
}

TEST(Report, ReadsReportsOfVersion10)
{
    const TemporaryFolder folder;
    const auto report = example_report();
    write_report(folder / "report.h5", report);
    {
        const RawFile raw(folder / "report.h5");
        for (const char* policy : {"/policies/0000", "/policies/0001", "/policies/0002"}) {
            raw.remove_attribute(policy, "match");
            raw.remove_attribute(policy, "cache_heads");
            raw.remove(std::string(policy) + "/nominal");
        }
        raw.set_attribute("/", "format_minor", 0);
    }
    const auto read = read_report(folder / "report.h5");
    EXPECT_EQ(read.policies[1].match, "nominal");
    EXPECT_EQ(read.policies[1].nominal, report.policies[1].budgets);
    EXPECT_EQ(read.cache_heads(1), 2);
}

TEST(Report, RefusesFilesThatAreNoReports)
{
    const TemporaryFolder folder;
    std::ofstream(folder / "text.h5") << "policy,budget\n";
    EXPECT_THAT(message_of([&] { read_report(folder / "text.h5"); }), HasSubstr("text.h5: not an HDF5 file"));
    EXPECT_THAT(message_of([&] { read_report(folder / "missing.h5"); }), HasSubstr("missing.h5: no such file"));
    EXPECT_THAT(message_of([&] { read_report(folder.path()); }), HasSubstr("found a folder"));
    H5Fclose(H5Fcreate((folder / "other.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    EXPECT_THAT(message_of([&] { read_report(folder / "other.h5"); }),
        HasSubstr("other.h5: not a report: expected format lava-report, found none"));
}

TEST(Report, RefusesATruncatedFile)
{
    const TemporaryFolder folder;
    write_report(folder / "report.h5", example_report());
    const auto whole = std::filesystem::file_size(folder / "report.h5");
    for (const auto size : {whole - 1, whole / 2, whole / 10, std::uintmax_t{100}}) {
        std::filesystem::resize_file(folder / "report.h5", size);
        EXPECT_THAT(message_of([&] { read_report(folder / "report.h5"); }), HasSubstr("report.h5: ")) << size;
    }
}

TEST(Report, RefusesAMissingDataset)
{
    EXPECT_THAT(refusal([](const RawFile& raw) { raw.remove("/policies/0001/counts"); }),
        HasSubstr("report.h5: /policies/0001/counts: "));
    EXPECT_THAT(
        refusal([](const RawFile& raw) { raw.remove("/policies/0000"); }), HasSubstr("report.h5: /policies/0000: "));
    EXPECT_THAT(refusal([](const RawFile& raw) { raw.remove("/norms/attn_out_l1"); }),
        HasSubstr("report.h5: /norms/attn_out_l1: "));
}

TEST(Report, RefusesAnotherTypeNamingBoth)
{
    EXPECT_THAT(refusal([](const RawFile& raw) {
        raw.replace("/policies/0001/ranking", H5T_STD_U32LE, {3, 2, 24});
    }),
        HasSubstr("/policies/0001/ranking: expected uint16, found uint32"));
}

TEST(Report, RefusesAnotherShapeNamingBoth)
{
    EXPECT_THAT(refusal([](const RawFile& raw) {
        raw.replace("/policies/0001/attn_out_l1", H5T_IEEE_F64LE, {3, 3, 1});
    }),
        HasSubstr("/policies/0001/attn_out_l1: expected [3, 3, 2], found [3, 3, 1]"));
}

TEST(Report, RefusesSizesThatMakeNoSense)
{
    EXPECT_THAT(refusal([](const RawFile& raw) { raw.set_attribute("/trace", "num_layers", 1LL << 60); }),
        HasSubstr("/trace: num_layers: expected 1 to 10000, found 1152921504606846976"));
    EXPECT_THAT(refusal([](const RawFile& raw) { raw.set_attribute("/trace", "num_kv_heads", 3); }),
        HasSubstr("num_kv_heads: expected a divisor of num_heads 4, found 3"));
    EXPECT_THAT(refusal([](const RawFile& raw) { raw.set_attribute("/trace", "seq_len", 25); }),
        HasSubstr("expected [3, 2, 25], found [3, 2, 24]"));
}

TEST(Report, RefusesARankingThatIsNoPermutation)
{
    EXPECT_THAT(refusal([](const RawFile& raw) {
        auto ranking = raw.read<std::uint32_t>("/policies/0001/ranking");
        ranking[24 * 3 + 5] = ranking[24 * 3];
        raw.write("/policies/0001/ranking", ranking);
    }),
        HasSubstr(
            "/policies/0001/ranking: expected every position below 24 once, found 23 twice in layer 1, KV head 1"));
    EXPECT_THAT(refusal([](const RawFile& raw) {
        auto ranking = raw.read<std::uint32_t>("/policies/0001/ranking");
        ranking[0] = 24;
        raw.write("/policies/0001/ranking", ranking);
    }),
        HasSubstr("once, found 24 in layer 0, KV head 0"));
}

TEST(Report, RefusesCountsAboveThePrompt)
{
    EXPECT_THAT(
        refusal([](const RawFile& raw) { raw.write("/policies/0002/counts", std::vector<std::int64_t>(18, 25)); }),
        HasSubstr("/policies/0002/counts: expected 0 to 24 entries in a head, found 25"));
}

TEST(Report, RefusesLossesThatAreNoNumbers)
{
    EXPECT_THAT(refusal([](const RawFile& raw) {
        raw.write("/policies/0002/head_l1", std::vector<float>(72, std::numeric_limits<float>::quiet_NaN()));
    }),
        HasSubstr("/policies/0002/head_l1: expected finite numbers of at least 0, found nan"));
}

TEST(Report, RefusesSpansOutsideThePrompt)
{
    EXPECT_THAT(refusal([](const RawFile& raw) {
        raw.write("/trace/spans", std::vector<std::int64_t>{0, 21, 8, 17, 21, 99});
    }),
        HasSubstr("/trace/spans: expected 'question' within 24 tokens, found 21:99"));
}

TEST(Report, RefusesToWriteWhatItWouldNotRead)
{
    EXPECT_THAT(write_refusal([](ReplayReport& report) { report.policies[0].counts[4] = 25; }),
        HasSubstr("report.h5: /policies/0000/counts: expected 0 to 24"));
    EXPECT_THAT(write_refusal([](ReplayReport& report) { report.policies[1].attn_out_l2.clear(); }),
        HasSubstr("/policies/0001/attn_out_l2: expected 18 values, found 0"));
    EXPECT_THAT(write_refusal([](ReplayReport& report) {
        report.policies[1].budgets = {12, 6, 24};
    }),
        HasSubstr("/policies/0001/budgets: expected ascending budgets"));
    EXPECT_THAT(write_refusal([](ReplayReport& report) { report.norms = {}; }), HasSubstr("expected 0 values"));
}

TEST(Report, SaysWhereItCouldNotBeWritten)
{
    EXPECT_THAT(message_of([] { write_report("/nonexistent/folder/report.h5", example_report()); }),
        HasSubstr("/nonexistent/folder"));
}

} // namespace
} // namespace lava
