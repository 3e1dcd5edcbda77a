#include "model/jinja/text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>

namespace lava::jinja {

namespace {

icu::UnicodeString wide(std::string_view text)
{
    return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
}

std::string narrow(const icu::UnicodeString& text)
{
    std::string result;
    return text.toUTF8String(result);
}

/// Code point of one character of well-formed text.
std::uint32_t code_of(std::string_view character)
{
    const auto byte
        = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(character[i])); };
    switch (character.size()) {
    case 1:
        return byte(0);
    case 2:
        return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
        return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
        return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    }
}

/// Whether Python's str.isspace() holds for the character.
bool is_space(std::string_view character)
{
    const std::uint32_t code = code_of(character);
    return (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 || code == 0x1680
        || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f
        || code == 0x3000;
}

template <typename Drop> std::string strip_where(std::string_view text, bool left, bool right, const Drop& drop)
{
    const std::vector<std::size_t> at = character_offsets(text);
    std::size_t begin = 0, end = at.size() - 1;
    while (left && begin < end && drop(text.substr(at[begin], at[begin + 1] - at[begin]))) {
        ++begin;
    }
    while (right && begin < end && drop(text.substr(at[end - 1], at[end] - at[end - 1]))) {
        --end;
    }
    return std::string(text.substr(at[begin], at[end] - at[begin]));
}

} // namespace

std::string encode_character(std::uint32_t code)
{
    return narrow(icu::UnicodeString(static_cast<UChar32>(code)));
}

std::vector<std::size_t> character_offsets(std::string_view text)
{
    std::vector<std::size_t> offsets;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i == 0 || (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
            offsets.push_back(i);
        }
    }
    offsets.push_back(text.size());
    return offsets;
}

std::int64_t character_count(std::string_view text)
{
    return std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

std::string strip(std::string_view text, bool left, bool right)
{
    return strip_where(text, left, right, is_space);
}

std::string strip(std::string_view text, bool left, bool right, std::string_view characters)
{
    return strip_where(text, left, right,
        [&](std::string_view character) { return characters.find(character) != std::string_view::npos; });
}

std::string upper(std::string_view text)
{
    return narrow(wide(text).toUpper(icu::Locale::getRoot()));
}

std::string lower(std::string_view text)
{
    return narrow(wide(text).toLower(icu::Locale::getRoot()));
}

std::string capitalize(std::string_view text)
{
    const std::size_t first = character_offsets(text)[text.empty() ? 0 : 1];
    return upper(text.substr(0, first)) + lower(text.substr(first));
}

std::string title(std::string_view text)
{
    std::string result;
    const std::vector<std::size_t> at = character_offsets(text);
    bool inside = false;
    for (std::size_t i = 0; i + 1 < at.size(); ++i) {
        const std::string_view character = text.substr(at[i], at[i + 1] - at[i]);
        result += inside ? lower(character) : upper(character);
        inside = u_isalpha(static_cast<UChar32>(code_of(character))) != 0;
    }
    return result;
}

std::vector<std::string> split(std::string_view text, std::string_view separator, std::int64_t most)
{
    std::vector<std::string> parts;
    std::size_t at = 0;
    for (std::size_t next = text.find(separator); next != std::string_view::npos && std::ssize(parts) != most;
         next = text.find(separator, at)) {
        parts.emplace_back(text.substr(at, next - at));
        at = next + separator.size();
    }
    parts.emplace_back(text.substr(at));
    return parts;
}

std::vector<std::string> split_space(std::string_view text)
{
    std::vector<std::string> parts;
    const std::vector<std::size_t> at = character_offsets(text);
    bool inside = false;
    for (std::size_t i = 0; i + 1 < at.size(); ++i) {
        const std::string_view character = text.substr(at[i], at[i + 1] - at[i]);
        const bool space = is_space(character);
        if (!space && !inside) {
            parts.emplace_back();
        }
        if (!space) {
            parts.back() += character;
        }
        inside = !space;
    }
    return parts;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t most)
{
    std::string result;
    std::size_t at = 0;
    for (std::int64_t count = 0; count != most; ++count) {
        const std::size_t next = text.find(from, at);
        if (next == std::string_view::npos || from.empty()) {
            break;
        }
        result.append(text, at, next - at).append(to);
        at = next + from.size();
    }
    return result.append(text, at);
}

} // namespace lava::jinja
