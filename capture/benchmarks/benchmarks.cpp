#include "base/error.h"
#include "capture/benchmarks/sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

namespace lava {

namespace {

constexpr auto known = std::to_array<BenchmarkInfo>({
    {"longbench", "records of LongBench; --max-length cuts the middle out", true},
    {"ruler", "records of RULER, with or without answer_prefix; never cut", true},
    {"infinitebench", "records of InfiniteBench; --max-length cuts the middle out", true},
    {"needle", "a sentence in texts (--records) at --lengths x --depths", true},
    {"passkey", "LongLM's pass keys; never cut", false},
    {"kv-retrieval", "Lost in the Middle's keys and values; never cut", false},
});

void refuse(bool wrong, const std::string& message)
{
    if (wrong) {
        throw UsageError(message);
    }
}

const BenchmarkInfo& info_of(const SampleRequest& request)
{
    const auto found = std::find_if(
        known.begin(), known.end(), [&](const BenchmarkInfo& info) { return info.name == request.benchmark; });
    refuse(found == known.end(),
        "--benchmark: expected longbench, ruler, infinitebench, needle, passkey or kv-retrieval, found "
            + shown(request.benchmark));
    return *found;
}

/// Numbers of a list give their samples' ids, and so may not be printed alike.
void refuse_equal(const char* option, const std::vector<std::string>& texts)
{
    for (auto text = texts.begin(); text != texts.end(); ++text) {
        refuse(std::find(texts.begin(), text, *text) != text,
            std::string(option) + ": expected numbers that differ, to six digits, found " + *text + " twice");
    }
}

void check_needle(const SampleRequest& request)
{
    refuse(request.lengths.empty(), "--benchmark needle: expected --lengths, found none");
    refuse(request.is_kvpress() && request.question.empty(),
        "--benchmark needle --variant kvpress: expected --question, found none: kvpress has it in its records");
    refuse(!request.needle.empty() && request.needle.find_first_not_of(" \n") == std::string::npos,
        "--needle: expected words, found none");
    std::vector<std::string> lengths, depths;
    for (const std::int64_t length : request.lengths) {
        lengths.push_back(std::to_string(length));
    }
    for (const double depth : request.depths) {
        refuse(std::signbit(depth), "--depths: expected 0 to 100, found " + depth_text(depth));
        depths.push_back(depth_text(depth));
    }
    refuse_equal("--lengths", lengths);
    refuse_equal("--depths", depths);
}

} // namespace

std::span<const BenchmarkInfo> benchmarks()
{
    return known;
}

void check_request(const SampleRequest& request)
{
    const BenchmarkInfo& info = info_of(request);
    const bool is_needle = request.benchmark == "needle";
    refuse(request.records.empty(), "--records is missing");
    refuse(request.variant != "official" && !request.is_kvpress(),
        "--variant: expected official or kvpress, found " + shown(request.variant));
    refuse(request.is_kvpress() && !info.has_kvpress, "--variant kvpress: kvpress has no form of " + request.benchmark);
    refuse(!request.config.empty() && (request.benchmark != "longbench" || request.is_kvpress()),
        "--config: only official LongBench reads its templates from a folder");
    refuse(request.gold_index && request.benchmark != "kv-retrieval", "--gold-index: only kv-retrieval has one");
    refuse(!request.task.empty() && request.benchmark != "ruler" && request.benchmark != "infinitebench",
        "--task: only files of ruler and infinitebench do not say it themselves");
    refuse(!is_needle
            && !(request.lengths.empty() && request.needle.empty() && request.question.empty() && request.depths.empty()
                && request.answer_prefix.empty()),
        "--lengths, --depths, --needle, --question and --answer-prefix: only needle has them");
    if (is_needle) {
        check_needle(request);
    }
}

std::vector<Sample> make_samples(const SampleRequest& request, const OfficialDecoder& decoder)
{
    check_request(request);
    const std::string& name = request.benchmark;
    std::vector<Sample> samples = name == "longbench" ? longbench_samples(request)
        : name == "ruler"                             ? ruler_samples(request)
        : name == "infinitebench"                     ? infinitebench_samples(request)
        : name == "passkey"                           ? passkey_samples(request)
        : name == "kv-retrieval"                      ? kv_retrieval_samples(request)
                                                      : needle_samples(request, decoder);
    for (Sample& sample : samples) {
        sample.chat = request.chat.value_or(sample.chat);
        sample.cut = request.is_kvpress() ? Cut::context_head : sample.cut;
    }
    return samples;
}

} // namespace lava
