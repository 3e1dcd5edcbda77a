#pragma once

#include "capture/benchmarks/records.h"
#include "model/official_decoder.h"
#include "model/tokenizer.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// A named stretch of a text: half-open bytes.
struct TextRange
{
    std::string name;
    ByteRange bytes;
};

/// How a benchmark's own code makes a prompt fit --max-length.
enum class Cut
{
    none, ///< nothing is cut: a prompt that is longer is refused
    halves, ///< LongBench: first and last half of the tokens, each made text again, joined
    joined_halves, ///< InfiniteBench: the same tokens, made text again in one piece, even where none is left out
    context_head, ///< kvpress: the first tokens of the context; question and answer prefix are never cut
};

/// How a sample of a benchmark reads before it is tokenized, and what it is scored by.
struct Sample
{
    std::string task;
    std::string where; ///< "FILE: line 3"
    std::string file; ///< without its folder, so that the same records give the same lines anywhere
    std::size_t line = 0; ///< 0: of a text that a needle is hidden in
    std::int64_t needle_length = 0; ///< of a needle's context, in tokens
    double needle_depth = 0; ///< percent
    std::string text; ///< what the user says
    std::string answer_prefix = {}; ///< the answer's first words, behind the user's turn
    std::vector<TextRange> ranges = {}; ///< of text: context, question, needle
    std::size_t question_begin = 0; ///< kvpress: text before it is the context that is compressed
    bool chat = false; ///< whether the benchmark puts the text into the model's chat template
    Cut cut = Cut::none;
    std::vector<std::string> answers = {};
    std::vector<std::string> places = {}; ///< what to look for in the context, to say where the answer stands
    std::vector<std::string> all_classes = {};
    std::int64_t max_new_tokens = 0;
    std::string metric = {};
    bool newline_stops = false; ///< a line break ends the answer
    std::int64_t min_new_tokens = 0;
    std::string id_suffix = {}; ///< follows TASK- in the id; empty: the sample's number
};

/// What the command line says of the samples.
struct SampleRequest
{
    std::string benchmark;
    std::string variant = "official"; ///< or "kvpress"
    std::optional<bool> chat = {}; ///< whether the chat template is applied; nothing: as the variant has it
    std::vector<std::filesystem::path> records;
    std::string task = {}; ///< of files whose name does not say it
    std::filesystem::path config = {}; ///< folder with LongBench's dataset2prompt.json and dataset2maxlen.json
    std::optional<std::size_t> gold_index = {}; ///< kv-retrieval: where the pair that is asked for stands
    std::vector<std::int64_t> lengths = {}; ///< needle: tokens of the context
    std::vector<double> depths = {}; ///< needle: percent
    std::string needle = {}, question = {}, answer_prefix = {};

    bool is_kvpress() const { return variant == "kvpress"; }
};

// Samples in the order of the files. All throw Error naming file and line of a record that does not fit.

std::vector<Sample> longbench_samples(const SampleRequest& request);
std::vector<Sample> ruler_samples(const SampleRequest& request);
std::vector<Sample> infinitebench_samples(const SampleRequest& request);
std::vector<Sample> passkey_samples(const SampleRequest& request);
std::vector<Sample> kv_retrieval_samples(const SampleRequest& request);
/// A sample for each length and depth, in the haystack that the records' files make one after the other.
/// Throws Error naming the first file where no 64 bytes of them for each token have as many tokens as are asked for.
std::vector<Sample> needle_samples(const SampleRequest& request, const OfficialDecoder& decoder);
/// Percent as ids and messages have it, to six digits.
std::string depth_text(double depth);

struct BenchmarkInfo
{
    std::string_view name;
    std::string_view summary;
    bool has_kvpress; ///< whether kvpress has a form of it
};
std::span<const BenchmarkInfo> benchmarks();

/// Throws UsageError where the request names a benchmark, a variant or an option that does not go with the others.
void check_request(const SampleRequest& request);

std::vector<Sample> make_samples(const SampleRequest& request, const OfficialDecoder& decoder);

} // namespace lava
