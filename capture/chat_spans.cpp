#include "capture/chat_spans.h"

#include "base/error.h"
#include "model/jinja/text.h"

#include <optional>
#include <utility>
#include <vector>

namespace lava {

namespace {

std::string_view slice(std::string_view text, ByteRange bytes)
{
    return text.substr(bytes.begin, bytes.end - bytes.begin);
}

/// A character of the private use area that stands nowhere yet. No template knows it, and it is neither white space nor
/// has it another case.
std::string unused_character(std::string_view text, std::string_view rendering)
{
    for (std::uint32_t code = 0xe000; code < 0xf8ff; ++code) {
        std::string character = jinja::encode_character(code);
        if (text.find(character) == std::string_view::npos && rendering.find(character) == std::string_view::npos) {
            return character;
        }
    }
    throw Error("the prompt has every character of the private use area, and so none is left to find its spans by");
}

/// Where one character of the text comes to stand: a mark in its place has to be in the rendering once, and all else
/// has to be as it was.
std::optional<std::size_t> find_character(
    const Tokenizer& tokenizer, std::string_view text, std::string_view rendering, ByteRange character)
{
    const std::string mark = unused_character(text, rendering);
    std::string marked(text);
    marked.replace(character.begin, character.end - character.begin, mark);
    std::string other = tokenizer.apply_chat_template({{"user", marked}});
    const std::size_t at = other.find(mark);
    if (at == std::string::npos) {
        return std::nullopt;
    }
    other.replace(at, mark.size(), slice(text, character));
    return other == rendering ? std::optional(at) : std::nullopt;
}

/// The span's ends are found each by itself: what a template does at a word inside (it looks for a tag, say) stays.
std::optional<ByteRange> find_span(
    const Tokenizer& tokenizer, std::string_view text, std::string_view rendering, ByteRange span)
{
    const std::vector<std::size_t> offsets = jinja::character_offsets(slice(text, span));
    const ByteRange first{span.begin, span.begin + offsets[1]};
    const ByteRange last{span.begin + offsets[offsets.size() - 2], span.end};
    const auto begin = find_character(tokenizer, text, rendering, first);
    const auto end = begin ? find_character(tokenizer, text, rendering, last) : std::nullopt;
    if (!end || *end < *begin) {
        return std::nullopt;
    }
    const ByteRange found{*begin, *end + (last.end - last.begin)};
    return slice(rendering, found) == slice(text, span) ? std::optional(found) : std::nullopt;
}

} // namespace

ByteRange span_in_chat(const Tokenizer& tokenizer, std::string_view text, std::string_view rendering,
    const std::string& name, ByteRange span)
{
    const std::string_view own = slice(text, span);
    const std::size_t left = own.size() - jinja::strip(own, true, false).size();
    const std::size_t right = own.size() - jinja::strip(own, false, true).size();
    for (const auto& [before, behind] :
        {std::pair<std::size_t, std::size_t>{0, 0}, {left, 0}, {0, right}, {left, right}}) {
        if (before + behind < own.size()) {
            const ByteRange core{span.begin + before, span.end - behind};
            if (const auto found = find_span(tokenizer, text, rendering, core)) {
                return *found;
            }
        }
    }
    throw Error("span " + name
        + ": expected its text as it is, and once, in what the chat template makes of the prompt, found it changed, "
          "left out or repeated");
}

} // namespace lava
