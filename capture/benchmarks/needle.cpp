#include "base/error.h"
#include "base/formatted.h"
#include "capture/benchmarks/sample.h"
#include "model/official_decoder.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

namespace lava {

namespace {

using Ids = std::vector<std::int64_t>;

// the released runners' needle and question, the needle with its line ends
constexpr std::string_view default_needle
    = "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n";
constexpr std::string_view default_question = "The best thing to do in San Francisco is: ";
constexpr std::int64_t room = 200; ///< tokens of a context length that are left to question and answer
constexpr std::int64_t kvpress_room = 150;

/// Every line end as \n.
std::string with_line_feeds(std::string_view text)
{
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\r') {
            result += text[i];
        } else if (i + 1 == text.size() || text[i + 1] != '\n') {
            result += '\n';
        }
    }
    return result;
}

/// Bytes of haystack for each token that is wanted, at most: words have some 4, and a text that needs more than this is
/// one whose copies merge, or are left out.
constexpr std::int64_t most_bytes_per_token = 64;

std::string repeated(const std::string& text, std::int64_t copies)
{
    std::string all;
    for (std::int64_t i = 0; i < copies; ++i) {
        all += text;
    }
    return all;
}

/// The files one after the other, the fewest copies of them, but for the first guess, that have `tokens` tokens.
std::string haystack_of(const SampleRequest& request, const Tokenizer& tokenizer, std::int64_t tokens)
{
    std::string once;
    for (const auto& file : request.records) {
        once += with_line_feeds(read_unpacked(file));
    }
    const std::int64_t of_one = std::ssize(tokenizer.encode(once, false).ids);
    const auto suffices = [&](std::int64_t copies) {
        return std::ssize(tokenizer.encode(repeated(once, copies), false).ids) >= tokens;
    };
    std::int64_t few = of_one > 0 ? tokens / of_one + 1 : 0;
    if (few > 0 && suffices(few)) {
        return repeated(once, few);
    }
    // where two copies meet, tokens may merge
    const std::int64_t most = most_bytes_per_token * tokens / std::max<std::int64_t>(std::ssize(once), 1);
    std::int64_t enough = std::min(few + 1, most);
    while (enough > few && !suffices(enough)) {
        few = enough;
        enough = std::min(2 * few, most);
    }
    if (enough <= few) {
        throw Error("--records " + request.records.front().string() + ": expected texts whose copies have "
            + std::to_string(tokens) + " tokens (--lengths) in " + std::to_string(most_bytes_per_token * tokens)
            + " bytes, found fewer");
    }
    while (enough - few > 1) {
        const std::int64_t middle = few + (enough - few) / 2;
        (suffices(middle) ? enough : few) = middle;
    }
    return repeated(once, enough);
}

/// The tokens that end a sentence: a full stop by itself and behind a word.
std::set<std::int64_t> full_stops(const Tokenizer& tokenizer)
{
    std::set<std::int64_t> stops;
    for (const std::int64_t id : tokenizer.encode(".", false).ids) {
        stops.insert(id);
    }
    stops.insert(tokenizer.encode("a.", false).ids.back());
    return stops;
}

Ids first(const Ids& ids, std::int64_t count)
{
    return {ids.begin(), ids.begin() + std::clamp<std::int64_t>(count, 0, std::ssize(ids))};
}

/// How many tokens of the context stand before the needle: `depth` percent, back to the end of a sentence.
std::int64_t tokens_before(const Ids& context, double depth, const std::set<std::int64_t>& stops)
{
    if (depth == 100) {
        return std::ssize(context);
    }
    auto before = static_cast<std::int64_t>(static_cast<double>(context.size()) * (depth / 100));
    while (before > 0 && !stops.contains(context[static_cast<std::size_t>(before) - 1])) {
        --before;
    }
    return before;
}

Ids planted(const Ids& context, std::int64_t before, const Ids& needle)
{
    Ids result = first(context, before);
    result.insert(result.end(), needle.begin(), needle.end());
    result.insert(result.end(), context.begin() + before, context.end());
    return result;
}

/// What one sample is made of.
struct Cell
{
    std::int64_t length = 0;
    double depth = 0;
    std::string context; ///< with the needle in it
    std::string needle, question;
    std::size_t needle_from = 0; ///< about where in the context the needle is planted
};

/// Where `words` stand in `text` nearest to `place`, from `begin` to `end`; npos where they do not.
std::size_t nearest(
    const std::string& text, const std::string& words, std::size_t begin, std::size_t end, std::size_t place)
{
    const auto distance = [&](std::size_t at) { return at > place ? at - place : place - at; };
    std::size_t best = std::string::npos;
    for (std::size_t at = text.find(words, begin); at != std::string::npos && at + words.size() <= end;
         at = text.find(words, at + 1)) {
        if (best == std::string::npos || distance(at) < distance(best))
            best = at;
    }
    return best;
}

void add_spans(Sample& sample, const Cell& cell, std::size_t context_begin)
{
    sample.ranges.push_back({"context", {context_begin, context_begin + cell.context.size()}});
    const std::size_t first_letter = cell.needle.find_first_not_of(" \n");
    const std::string words = cell.needle.substr(first_letter, cell.needle.find_last_not_of(" \n") + 1 - first_letter);
    const std::size_t at = nearest(sample.text, words, context_begin, context_begin + cell.context.size(),
        context_begin + cell.needle_from + first_letter);
    if (at != std::string::npos) {
        sample.ranges.push_back({"needle", {at, at + words.size()}});
    }
    const std::size_t question = sample.text.find(cell.question, context_begin + cell.context.size());
    if (question != std::string::npos) {
        sample.ranges.push_back({"question", {question, question + cell.question.size()}});
    }
}

Sample sample_of(const SampleRequest& request, const Cell& cell)
{
    Sample sample;
    sample.task = "needle";
    sample.where = formatted(
        "--records {}: {} tokens, depth {}", request.records.front().string(), cell.length, depth_text(cell.depth));
    sample.file = request.records.front().filename().string();
    sample.needle_length = cell.length;
    sample.needle_depth = cell.depth;
    sample.id_suffix = formatted("{}-{}", cell.length, depth_text(cell.depth));
    const std::string opening = "This is a very long story book: <book> ";
    // the released runners open the prompt so, whatever the model; a chat template takes its place
    sample.text = (request.is_kvpress() || request.chat == true ? "" : "<|im_start|> ") + opening;
    const std::size_t begin = sample.text.size();
    sample.text += cell.context + " </book>.";
    sample.question_begin = sample.text.size();
    sample.text += request.is_kvpress()
        ? cell.question
        : "\n Based on the content of the book, Question: " + cell.question + "\nAnswer:";
    add_spans(sample, cell, begin);
    sample.answers = {cell.needle};
    sample.metric = "needle";
    sample.max_new_tokens = request.is_kvpress() ? 50 : 30;
    sample.newline_stops = !request.is_kvpress();
    sample.chat = request.is_kvpress();
    sample.answer_prefix = request.answer_prefix;
    return sample;
}

/// Length by length, depth by depth.
class NeedleMaker
{
public:
    NeedleMaker(const SampleRequest& request, const OfficialDecoder& decoder)
        : request_(request)
        , decoder_(decoder)
        , tokenizer_(decoder.tokenizer())
        , needle_(request.needle.empty() ? default_needle : request.needle)
        , question_(request.question.empty() ? default_question : request.question)
        , needle_ids_(tokenizer_.encode(needle_, false).ids)
        , stops_(full_stops(tokenizer_))
        , haystack_(tokenizer_
                        .encode(haystack_of(request, tokenizer_,
                                    *std::max_element(request.lengths.begin(), request.lengths.end())),
                            false)
                        .ids)
    { }

    std::vector<Sample> samples() const
    {
        std::vector<Sample> samples;
        for (const std::int64_t length : request_.lengths) {
            const Ids context = context_of(length);
            for (const double depth : request_.depths) {
                const std::int64_t before = place(context, depth);
                const Ids ids = planted(context, before, needle_ids_);
                samples.push_back(sample_of(request_,
                    {length, depth, decoder_(ids), needle_, question_, decoder_(first(context, before)).size()}));
            }
        }
        return samples;
    }

private:
    Ids context_of(std::int64_t length) const
    {
        const std::int64_t left = length - (request_.is_kvpress() ? kvpress_room : room) - std::ssize(needle_ids_);
        if (left < 1) {
            throw Error(formatted("--lengths {}: expected room for the needle of {} tokens and the {} tokens that "
                                  "question and answer are left, found {} tokens for the context",
                length, needle_ids_.size(), request_.is_kvpress() ? kvpress_room : room, left));
        }
        if (request_.is_kvpress()) {
            return first(haystack_, left);
        }
        // the released runners make it text once and tokenize it again before they cut it to what is left
        return first(tokenizer_.encode(decoder_(first(haystack_, length)), false).ids, left);
    }

    std::int64_t place(const Ids& context, double depth) const
    {
        if (request_.is_kvpress()) { // anywhere, be it inside a word
            return static_cast<std::int64_t>(static_cast<double>(context.size()) * depth / 100);
        }
        return tokens_before(context, depth, stops_);
    }

    const SampleRequest& request_;
    const OfficialDecoder& decoder_;
    const Tokenizer& tokenizer_;
    std::string needle_, question_;
    Ids needle_ids_;
    std::set<std::int64_t> stops_;
    Ids haystack_;
};

} // namespace

std::string depth_text(double depth)
{
    char text[32];
    std::snprintf(text, sizeof text, "%g", depth);
    return text;
}

std::vector<Sample> needle_samples(const SampleRequest& request, const OfficialDecoder& decoder)
{
    return NeedleMaker(request, decoder).samples();
}

} // namespace lava
