#include "base/error.h"
#include "base/formatted.h"
#include "capture/benchmarks/sample.h"
#include "capture/benchmarks/text_template.h"

#include <algorithm>

namespace lava {

namespace {

using Pair = std::pair<std::string, std::string>;

/// The keys and values of a record of Lost in the Middle (Liu et al. 2023, arXiv:2307.03172).
std::vector<Pair> pairs_of(const Record& record)
{
    const auto& found = record.value("ordered_kv_records");
    const auto is_pair = [](const auto& pair) {
        return pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string();
    };
    if (!found.is_array() || found.size() < 2 || !std::all_of(found.begin(), found.end(), is_pair)) {
        record.refuse("ordered_kv_records: expected at least two pairs of a key and a value, found "
            + found.dump().substr(0, 40));
    }
    return found.get<std::vector<Pair>>();
}

/// The pairs with the one that is asked for at `gold_index`, where that is given.
std::vector<Pair> ordered_pairs(const Record& record, const Pair& gold, std::optional<std::size_t> gold_index)
{
    std::vector<Pair> pairs = pairs_of(record);
    const auto at = std::find(pairs.begin(), pairs.end(), gold);
    if (at == pairs.end()) {
        record.refuse("expected key and value among ordered_kv_records, found neither such a pair");
    }
    if (gold_index) {
        if (*gold_index >= pairs.size()) {
            record.refuse(
                formatted("--gold-index {}: expected one of its {} pairs, counted from 0", *gold_index, pairs.size()));
        }
        pairs.erase(at);
        pairs.insert(pairs.begin() + static_cast<std::ptrdiff_t>(*gold_index), gold);
    }
    return pairs;
}

Sample kv_sample(const Record& record, std::optional<std::size_t> gold_index)
{
    const Pair gold{record.text("key"), record.text("value")};
    if (gold.first.empty() || gold.second.empty()) {
        record.refuse("key and value: expected texts, found an empty one");
    }
    const std::vector<Pair> pairs = ordered_pairs(record, gold, gold_index);
    std::string json;
    ByteRange needle;
    for (const Pair& pair : pairs) {
        json += json.empty() ? "{" : ",\n ";
        const std::size_t begin = json.size();
        json += '"' + pair.first + "\": \"" + pair.second + '"';
        if (pair == gold) {
            needle = {begin, json.size()};
        }
    }
    json += "}";
    // Lost in the Middle's own words (LICENSES.md)
    const FilledTemplate filled = fill("Extract the value corresponding to the specified key in the JSON object below."
                                       "\n\nJSON data:\n{context}\n\nKey: \"{question}\"\nCorresponding value:",
        {{"context", json}, {"question", gold.first}});
    Sample sample;
    sample.task = formatted("kv_retrieval_{}_keys", pairs.size());
    sample.text = filled.text;
    sample.ranges = filled.fields;
    const std::size_t before = filled.fields.front().bytes.begin;
    sample.ranges.push_back({"needle", {needle.begin + before, needle.end + before}});
    sample.answers = sample.places = {gold.second};
    sample.max_new_tokens = 100;
    sample.metric = "string_match_all";
    return sample;
}

Sample passkey_sample(const Record& record)
{
    constexpr std::string_view question = "What is the pass key? The pass key is ";
    Sample sample;
    sample.task = "passkey";
    const std::string input = record.text("input");
    const std::string target = record.text("target");
    sample.answers = sample.places = {target};
    const auto answer = find_words(input, target);
    if (!answer || target.empty()) {
        record.refuse("target: expected a pass key that stands in input, found " + shown(target));
    }
    sample.text = input + std::string(question);
    sample.question_begin = input.size();
    const std::size_t before = input.rfind('\n', answer->begin);
    const std::size_t begin = before == std::string::npos ? 0 : before + 1;
    sample.ranges = {{"context", {0, input.size()}}, {"question", {input.size(), sample.text.size()}},
        {"needle", {begin, std::min(input.find('\n', begin), input.size())}}};
    // its authors generate as many tokens as the key has characters
    sample.max_new_tokens = std::ssize(target);
    sample.metric = "infinitebench_passkey";
    return sample;
}

template <typename MakeSample> std::vector<Sample> samples_of(const SampleRequest& request, const MakeSample& make)
{
    std::vector<Sample> samples;
    for (const auto& file : request.records) {
        for (const Record& record : read_records(file)) {
            Sample sample = make(record);
            sample.where = record.where();
            sample.file = record.file_name();
            sample.line = record.line();
            samples.push_back(std::move(sample));
        }
    }
    return samples;
}

} // namespace

std::vector<Sample> passkey_samples(const SampleRequest& request)
{
    return samples_of(request, passkey_sample);
}

std::vector<Sample> kv_retrieval_samples(const SampleRequest& request)
{
    return samples_of(request, [&](const Record& record) { return kv_sample(record, request.gold_index); });
}

} // namespace lava
