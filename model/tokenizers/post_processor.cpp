#include "model/tokenizers/post_processor.h"

#include "model/tokenizers/byte_level.h"

#include <charconv>

namespace lava {

namespace {

void add_template(const JsonView& json, SpecialTokens& result)
{
    json.require_known({"type", "single", "pair", "special_tokens"});
    const JsonView known = json.at("special_tokens");
    bool behind = false;
    for (const JsonView& piece : json.at("single").elements()) {
        piece.require_known({"SpecialToken", "Sequence"});
        if (piece.find("Sequence")) {
            if (behind || piece.at("Sequence").string("id") != "A") {
                piece.refuse("the sequence A, once");
            }
            behind = true;
            continue;
        }
        const JsonView token = known.at(piece.at("SpecialToken").string("id"));
        for (const JsonView& id : token.at("ids").elements()) {
            (behind ? result.after : result.before).push_back(id.token_id());
        }
    }
    if (!behind) {
        json.at("single").refuse("the sequence A, once");
    }
}

void add_post_processor(const JsonView& json, SpecialTokens& result, int depth)
{
    const std::string type = json.type();
    if (type == "Sequence") {
        json.require_known({"type", "processors"});
        json.require_depth(depth);
        for (const JsonView& element : json.at("processors").elements()) {
            add_post_processor(element, result, depth + 1);
        }
    } else if (type == "TemplateProcessing" && result.before.empty() && result.after.empty()) {
        add_template(json, result);
    } else if (type == "ByteLevel") { // a ByteLevel processor only trims offsets
        json.require_known({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    } else {
        json.refuse("ByteLevel, one TemplateProcessing, or a Sequence of these");
    }
}

void add_decoder(const JsonView& json, Decoding& result, int depth)
{
    const std::string type = json.type();
    if (type == "Sequence") {
        json.require_known({"type", "decoders"});
        json.require_depth(depth);
        for (const JsonView& element : json.at("decoders").elements()) {
            add_decoder(element, result, depth + 1);
        }
    } else if (type == "ByteLevel") {
        json.require_known({"type", "add_prefix_space", "trim_offsets", "use_regex"});
        result.byte_level = true;
    } else if (type == "Replace") {
        json.require_known({"type", "pattern", "content"});
        result.replacements.emplace_back(json.at("pattern").string("String"), json.string("content"));
        if (result.replacements.back().first.empty()) {
            json.refuse("a pattern that is not empty");
        }
    } else if (type == "ByteFallback") {
        json.require_known({"type"});
        result.byte_fallback = true;
    } else if (type == "Fuse") {
        json.require_known({"type"});
    } else if (type == "Strip") {
        json.require_known({"type", "content", "start", "stop"});
        if (json.string("content") != " " || json.at("stop").integer() != 0 || json.at("start").integer() < 0) {
            json.refuse("spaces to be stripped at the start only");
        }
        result.leading_spaces = static_cast<std::size_t>(json.at("start").integer());
    } else if (type == "Metaspace") {
        json.require_known({"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"});
        result.replacements.emplace_back(json.string("replacement"), " ");
        const std::optional<JsonView> scheme = json.find("prepend_scheme");
        result.first_token_without_spaces
            = scheme ? scheme->string() != "never" : json.boolean("add_prefix_space", true);
    } else {
        json.refuse("ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace or a Sequence of these");
    }
}

} // namespace

SpecialTokens read_post_processor(const JsonView& json)
{
    SpecialTokens result;
    add_post_processor(json, result, 0);
    return result;
}

Decoding read_decoder(const JsonView& json)
{
    Decoding result;
    add_decoder(json, result, 0);
    return result;
}

std::string Decoding::bytes(const std::string& token) const
{
    if (byte_level) {
        return stood_for(token);
    }
    if (byte_fallback && token.size() == 6 && token.starts_with("<0x") && token.back() == '>') {
        unsigned byte = 0;
        const char* end = token.data() + 5;
        if (std::from_chars(token.data() + 3, end, byte, 16).ptr == end) {
            return std::string(1, static_cast<char>(byte));
        }
    }
    std::string text = token;
    for (const auto& [from, to] : replacements) {
        for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
            text.replace(at, from.size(), to);
        }
    }
    return text;
}

} // namespace lava
