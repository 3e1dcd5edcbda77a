#include "capture/benchmarks/sample_encoder.h"

#include "base/formatted.h"
#include "capture/benchmarks/cut_text.h"
#include "capture/benchmarks/text_template.h"
#include "capture/chat_spans.h"
#include "model/chat_template.h"
#include "model/tokenizers/tokenizer_config.h"

#include <algorithm>
#include <map>

namespace lava {

namespace {

/// The tokens that overlap `bytes`; nothing where there are none. Tokens lie in the order of the text.
std::optional<std::pair<std::int64_t, std::int64_t>> tokens_of(ByteRange bytes, const std::vector<ByteRange>& ranges)
{
    std::int64_t begin = -1, end = -1;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        if (ranges[i].begin < bytes.end && ranges[i].end > bytes.begin && ranges[i].begin < ranges[i].end) {
            begin = begin < 0 ? static_cast<std::int64_t>(i) : begin;
            end = static_cast<std::int64_t>(i) + 1;
        }
    }
    return begin < 0 ? std::nullopt : std::optional(std::pair(begin, end));
}

/// Adds the tokens of `range` of the text that was encoded.
void add_span(EncodedSample& encoded, const TextRange& range, const std::vector<ByteRange>& ranges)
{
    if (const auto tokens = tokens_of(range.bytes, ranges)) {
        encoded.spans.push_back({range.name, tokens->first, tokens->second});
    }
}

/// needle, needle, answer: needle, needle_2, answer.
void number_spans(std::vector<Span>& spans)
{
    std::map<std::string, int> counts;
    for (Span& span : spans) {
        const int count = ++counts[span.name];
        span.name += count > 1 ? formatted("_{}", count) : "";
    }
}

/// Where the answers stand in the context of `text`: the first place of each.
std::vector<TextRange> answer_ranges(const Sample& sample, std::string_view text, const std::vector<TextRange>& ranges)
{
    std::vector<TextRange> found;
    const auto context
        = std::find_if(ranges.begin(), ranges.end(), [](const TextRange& range) { return range.name == "context"; });
    if (context == ranges.end()) {
        return found;
    }
    for (const std::string& answer : sample.places) {
        const auto place = find_words(text.substr(0, context->bytes.end), answer, context->bytes.begin);
        if (place) {
            found.push_back({"answer", *place});
        }
    }
    return found;
}

} // namespace

SampleEncoder::SampleEncoder(const OfficialDecoder& decoder, const std::filesystem::path& model_folder,
    std::optional<std::int64_t> max_length, std::optional<std::int64_t> context_length)
    : decoder_(decoder)
    , bos_(read_tokenizer_config(model_folder).special_token("bos_token").value_or(""))
    , template_asks_for_thinking_(find_chat_template(model_folder).jinja.find("enable_thinking") != std::string::npos)
    , max_length_(max_length)
    , context_length_(context_length)
{ }

EncodedSample SampleEncoder::encode(const Sample& sample) const
{
    EncodedSample encoded = sample.cut == Cut::context_head ? encode_for_kvpress(sample) : encode_text(sample);
    check_length(sample, encoded);
    number_spans(encoded.spans);
    return encoded;
}

/// The whole text in one piece, cut before the chat template is applied.
EncodedSample SampleEncoder::encode_text(const Sample& sample) const
{
    const Tokenizer& tokenizer = decoder_.tokenizer();
    EncodedSample encoded;
    CutText cut{sample.text, sample.ranges};
    const bool joined = sample.cut == Cut::joined_halves;
    if (joined || (sample.cut == Cut::halves && max_length_)) {
        const Encoding whole = tokenizer.encode(sample.text, true);
        const std::int64_t tokens = std::ssize(whole.ids);
        const bool is_longer = max_length_ && tokens > *max_length_;
        encoded.uncut_tokens = is_longer ? tokens : 0;
        // InfiniteBench makes tokens text again even where it leaves none out
        if (joined || is_longer) {
            cut = cut_middle(decoder_, sample.text, whole, is_longer ? *max_length_ : tokens, joined, sample.ranges);
        }
    }
    encoded.chat = sample.chat && tokenizer.has_chat_template();
    const std::string rendered = encoded.chat ? tokenizer.apply_chat_template({{"user", cut.text}}) : cut.text;
    // a template that spells the token that begins every text is not given a second one
    const bool begun = encoded.chat && !bos_.empty() && rendered.starts_with(bos_);
    Encoding encoding = tokenizer.encode(rendered + sample.answer_prefix, !begun);
    const auto answers = answer_ranges(sample, cut.text, cut.ranges);
    for (const auto& ranges : {cut.ranges, answers}) {
        for (const TextRange& range : ranges) {
            add_span(encoded, encoded.chat ? in_chat(sample, cut.text, rendered, range) : range, encoding.ranges);
        }
    }
    encoded.ids = std::move(encoding.ids);
    return encoded;
}

/// `range` of the user's `text` in `rendered`, which the chat template made of it; an empty one as it is.
TextRange SampleEncoder::in_chat(
    const Sample& sample, const std::string& text, const std::string& rendered, const TextRange& range) const
{
    if (range.bytes.begin == range.bytes.end) {
        return range;
    }
    try {
        return {range.name, span_in_chat(decoder_.tokenizer(), text, rendered, range.name, range.bytes)};
    } catch (const Error& error) {
        throw Error(sample.where + ": " + error.what());
    }
}

/// The context as kvpress has it, and what follows the question: what a chat template puts behind the user's text.
/// `mark`, which is longer than any such run in the context, stands in for the question.
std::pair<std::string, std::string> SampleEncoder::around_question(
    const std::string& context, const std::string& mark, bool chat) const
{
    if (!chat) {
        return {bos_ + context, "\n"};
    }
    if (template_asks_for_thinking_) {
        throw Error(
            "--variant kvpress: expected a chat template without enable_thinking, which kvpress turns off, found "
            "one with it: use --no-chat");
    }
    const std::string rendered = decoder_.tokenizer().apply_chat_template({{"user", context + mark}});
    const std::size_t at = rendered.find(mark);
    if (at == std::string::npos || rendered.find(mark, at + mark.size()) != std::string::npos) {
        throw Error(
            "--variant kvpress: expected a chat template that inserts the text as it is, and once, found one that "
            "changes or repeats it: use --no-chat");
    }
    return {rendered.substr(0, at), rendered.substr(at + mark.size())};
}

/// kvpress: context and question are tokenized apart.
EncodedSample SampleEncoder::encode_for_kvpress(const Sample& sample) const
{
    const Tokenizer& tokenizer = decoder_.tokenizer();
    EncodedSample encoded;
    const std::string context = sample.text.substr(0, sample.question_begin);
    const std::string question = sample.text.substr(sample.question_begin);
    encoded.chat = sample.chat && tokenizer.has_chat_template();
    const std::string mark(context.size() + 10, '#');
    const auto [before, behind] = around_question(context, mark, encoded.chat);
    Encoding encoding = tokenizer.encode(before, false);
    if (max_length_ && std::ssize(encoding.ids) > *max_length_) {
        encoded.uncut_tokens = std::ssize(encoding.ids);
        encoding.ids.resize(static_cast<std::size_t>(*max_length_));
        encoding.ranges.resize(static_cast<std::size_t>(*max_length_));
    }
    const Encoding asked = tokenizer.encode(question + behind + sample.answer_prefix, false);
    encoded.ids = encoding.ids;
    encoded.ids.insert(encoded.ids.end(), asked.ids.begin(), asked.ids.end());
    encoded.spans.push_back({"context", 0, std::ssize(encoding.ids)});
    if (const auto tokens = question.empty() ? std::nullopt : tokens_of({0, question.size()}, asked.ranges)) {
        const std::int64_t first = std::ssize(encoding.ids);
        encoded.spans.push_back({"question", first + tokens->first, first + tokens->second});
    }
    auto ranges = answer_ranges(sample, sample.text, sample.ranges);
    ranges.insert(ranges.begin(), sample.ranges.begin(), sample.ranges.end());
    for (const TextRange& range : ranges) {
        if (range.name == "needle" || range.name == "answer") {
            const TextRange begun{range.name, {range.bytes.begin + bos_.size(), range.bytes.end + bos_.size()}};
            add_span(encoded, encoded.chat ? in_chat(sample, context + mark, before + mark + behind, range) : begun,
                encoding.ranges);
        }
    }
    return encoded;
}

void SampleEncoder::check_length(const Sample& sample, const EncodedSample& encoded) const
{
    const std::string found = formatted("found a prompt of {} tokens", encoded.ids.size());
    if (sample.cut == Cut::none && max_length_ && std::ssize(encoded.ids) > *max_length_) {
        throw TooLong(formatted("{}: expected at most --max-length {}, {}: this benchmark's prompts are never cut",
            sample.where, *max_length_, found));
    }
    if (context_length_ && std::ssize(encoded.ids) > *context_length_) {
        throw TooLong(formatted("{}: expected at most the model's context of {} tokens, {}{}", sample.where,
            *context_length_, found,
            sample.cut == Cut::none ? ": this benchmark's prompts are never cut"
                : max_length_       ? ": a smaller --max-length cuts it"
                                    : ": --max-length cuts it"));
    }
}

} // namespace lava
