#include "capture/prompts.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "capture/chat_spans.h"
#include "capture/haystack.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>

namespace lava {

namespace {

using Json = nlohmann::json;

struct ByteSpan
{
    std::string name;
    ByteRange bytes;
};

Json read_json(const std::filesystem::path& file)
{
    const std::string text = read_text(file);
    Json json = parse_json(text, file.string());
    if (json.is_discarded()) {
        throw Error(file.string() + ": expected JSON, found " + what_is_no_json(text));
    }
    return json;
}

/// Byte offsets of the characters of `text`, and its size at the end.
std::vector<std::size_t> character_offsets(std::string_view text)
{
    std::vector<std::size_t> offsets;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
            offsets.push_back(i);
        }
    }
    offsets.push_back(text.size());
    return offsets;
}

std::vector<ByteSpan> to_bytes(const std::vector<TextSpan>& spans, std::string_view text)
{
    const std::vector<std::size_t> offsets = character_offsets(text);
    const std::int64_t characters = std::ssize(offsets) - 1;
    std::vector<ByteSpan> result;
    for (const TextSpan& span : spans) {
        if (span.begin < 0 || span.begin >= span.end || span.end > characters) {
            throw Error(formatted("span {}: expected 0 <= begin < end <= {} characters of the prompt, found {}..{}",
                span.name, characters, span.begin, span.end));
        }
        result.push_back(
            {span.name, {offsets[static_cast<std::size_t>(span.begin)], offsets[static_cast<std::size_t>(span.end)]}});
    }
    return result;
}

/// The tokens that overlap [bytes.begin, bytes.end). Tokens lie in the order of the text.
Span to_tokens(const ByteSpan& span, const std::vector<ByteRange>& ranges)
{
    std::int64_t begin = -1, end = -1;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        if (ranges[i].begin < span.bytes.end && ranges[i].end > span.bytes.begin && ranges[i].begin < ranges[i].end) {
            begin = begin < 0 ? static_cast<std::int64_t>(i) : begin;
            end = static_cast<std::int64_t>(i) + 1;
        }
    }
    if (begin < 0) {
        throw Error("span " + span.name + ": expected tokens that stand for its text, found none");
    }
    return {span.name, begin, end};
}

/// `text` as the model reads it, without the answer prefix.
std::string rendered(const Tokenizer& tokenizer, std::string_view text, bool chat)
{
    return chat ? tokenizer.apply_chat_template({{"user", std::string(text)}}) : std::string(text);
}

Json describe(const PromptRequest& request)
{
    Json json = {{"chat", request.chat}, {"answer_prefix", request.answer_prefix}};
    if (const auto* needle = std::get_if<NeedleRequest>(&request.source)) {
        json["source"] = "haystack";
        json["haystack"] = {{"file", needle->haystack_name}, {"needle", needle->needle}, {"depth", needle->depth},
            {"question", needle->question}, {"tokens", needle->tokens}};
    } else {
        json["source"] = std::holds_alternative<std::string>(request.source) ? "text" : "ids";
    }
    if (!request.scoring.empty()) {
        json["scoring"] = Json::parse(request.scoring);
    }
    return json;
}

/// Spans of a prompt of `tokens` ids.
std::vector<Span> token_spans(const std::vector<TextSpan>& spans, std::int64_t tokens)
{
    std::vector<Span> result;
    for (const TextSpan& span : spans) {
        if (span.begin < 0 || span.begin >= span.end || span.end > tokens) {
            throw Error(formatted("span {}: expected 0 <= begin < end <= {} tokens of the prompt, found {}..{}",
                span.name, tokens, span.begin, span.end));
        }
        result.push_back({span.name, span.begin, span.end});
    }
    return result;
}

struct EncodedText
{
    std::vector<std::int64_t> ids;
    std::vector<Span> spans;
};

EncodedText encode_with_spans(
    const Tokenizer& tokenizer, std::string_view text, bool chat, const std::vector<ByteSpan>& spans)
{
    EncodedText result;
    const std::string whole = rendered(tokenizer, text, chat);
    Encoding encoding = tokenizer.encode(whole, !chat);
    for (const ByteSpan& span : spans) {
        const ByteRange bytes = chat ? span_in_chat(tokenizer, text, whole, span.name, span.bytes) : span.bytes;
        result.spans.push_back(to_tokens({span.name, bytes}, encoding.ranges));
    }
    result.ids = std::move(encoding.ids);
    return result;
}

EncodedText encode_source(
    const Tokenizer& tokenizer, const PromptRequest& request, const std::vector<std::int64_t>& prefix)
{
    if (const auto* needle = std::get_if<NeedleRequest>(&request.source)) {
        const NeedleText planted = plant_needle(*needle, [&](std::string_view text) {
            const std::string whole = rendered(tokenizer, text, request.chat);
            return std::ssize(tokenizer.encode(whole, !request.chat).ids) + std::ssize(prefix);
        });
        return encode_with_spans(tokenizer, planted.text, request.chat,
            {{"haystack", planted.haystack}, {"needle", planted.needle}, {"question", planted.question}});
    }
    const auto& text = std::get<std::string>(request.source);
    if (text.empty()) {
        throw Error("the prompt is empty");
    }
    return encode_with_spans(tokenizer, text, request.chat, to_bytes(request.spans, text));
}

/// A text that spells the token that begins every text has it twice: not what the model was trained on.
void note_double_bos(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids)
{
    const std::vector<std::int64_t> first = tokenizer.encode("", true).ids;
    if (!first.empty() && ids.size() >= 2 && ids[0] == first[0] && ids[1] == first[0]) {
        std::cerr << "lava-capture: note: the prompt begins with " << tokenizer.token_bytes(first[0])
                  << " twice: the tokenizer puts it in front by itself\n";
    }
}

} // namespace

Prompt build_prompt(const Tokenizer* tokenizer, const PromptRequest& request)
{
    Prompt prompt;
    std::vector<std::int64_t> prefix;
    if (!request.answer_prefix.empty()) {
        prefix = tokenizer->encode(request.answer_prefix, false).ids;
    }
    if (const auto* ids = std::get_if<std::vector<std::int64_t>>(&request.source)) {
        prompt.ids = *ids;
        prompt.spans = token_spans(request.spans, std::ssize(*ids));
    } else {
        EncodedText encoded = encode_source(*tokenizer, request, prefix);
        prompt.ids = std::move(encoded.ids);
        prompt.spans = std::move(encoded.spans);
    }
    prompt.ids.insert(prompt.ids.end(), prefix.begin(), prefix.end());
    if (tokenizer != nullptr) {
        note_double_bos(*tokenizer, prompt.ids);
        prompt.texts = token_texts(*tokenizer, prompt.ids);
    }
    prompt.tokenization = describe(request).dump();
    return prompt;
}

std::vector<std::string> token_texts(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids)
{
    std::vector<std::string> texts;
    texts.reserve(ids.size());
    for (const std::int64_t id : ids) {
        texts.push_back(id < tokenizer.vocab_size() ? tokenizer.token_bytes(id) : std::string());
    }
    return texts;
}

std::string read_text(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    if (!stream || std::filesystem::is_directory(file)) {
        throw Error(file.string() + ": cannot be read");
    }
    return checked_text({std::istreambuf_iterator<char>(stream), {}}, file);
}

std::vector<std::int64_t> read_ids(const std::filesystem::path& file)
{
    return ids_of(read_json(file), file.string());
}

std::vector<std::int64_t> ids_of(const nlohmann::json& json, const std::string& where)
{
    if (!json.is_array() || json.empty()) {
        throw Error(where + ": expected a JSON array of token ids, found "
            + (json.is_array() ? "an empty one" : json.type_name()));
    }
    std::vector<std::int64_t> ids;
    for (const Json& value : json) {
        if (!value.is_number_integer() || value > std::int64_t{INT32_MAX} || value < 0) {
            throw Error(formatted(
                "{}: element {}: expected a token id, found {}", where, ids.size(), value.dump().substr(0, 40)));
        }
        ids.push_back(value.get<std::int64_t>());
    }
    return ids;
}

std::vector<TextSpan> read_spans(const std::filesystem::path& file)
{
    return spans_of(read_json(file), file.string());
}

std::vector<TextSpan> spans_of(const nlohmann::json& json, const std::string& where)
{
    const std::string expected = ": expected [{\"name\": ..., \"begin\": ..., \"end\": ...}, ...], found ";
    if (!json.is_array()) {
        throw Error(where + expected + json.type_name());
    }
    std::vector<TextSpan> spans;
    std::set<std::string> names;
    for (const Json& value : json) {
        const bool fits = value.is_object() && value.size() == 3 && value.contains("name") && value["name"].is_string()
            && value.contains("begin") && value["begin"].is_number_integer() && value.contains("end")
            && value["end"].is_number_integer() && value["name"] != "";
        if (!fits) {
            throw Error(where + expected + value.dump().substr(0, 80));
        }
        spans.push_back({value["name"], value["begin"], value["end"]});
        if (!names.insert(spans.back().name).second) {
            throw Error(where + ": span " + spans.back().name + " is given twice");
        }
    }
    return spans;
}

} // namespace lava
