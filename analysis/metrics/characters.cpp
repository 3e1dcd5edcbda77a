#include "analysis/metrics/characters.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cstdint>

namespace lava {

namespace {

icu::UnicodeString wide(CharactersView text)
{
    return icu::UnicodeString::fromUTF32(
        reinterpret_cast<const UChar32*>(text.data()), static_cast<std::int32_t>(text.size()));
}

Characters narrow(const icu::UnicodeString& text)
{
    Characters result;
    result.reserve(static_cast<std::size_t>(text.length()));
    for (std::int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1))
        result += static_cast<char32_t>(text.char32At(i));
    return result;
}

bool is_ascii(CharactersView text)
{
    return std::ranges::all_of(text, [](char32_t c) { return c < 128; });
}

} // namespace

Characters characters_of(std::string_view utf8)
{
    return narrow(icu::UnicodeString::fromUTF8({utf8.data(), static_cast<std::int32_t>(utf8.size())}));
}

std::string utf8_of(CharactersView text)
{
    std::string result;
    wide(text).toUTF8String(result);
    return result;
}

bool is_space(char32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680
        || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_digit(char32_t c)
{
    return c < 128 ? c >= '0' && c <= '9' : u_isdigit(static_cast<UChar32>(c)) != 0;
}

bool is_word(char32_t c)
{
    const auto code = static_cast<UChar32>(c);
    return c == '_' || u_isalpha(code) != 0 || u_getIntPropertyValue(code, UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool is_ascii_punctuation(char32_t c)
{
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

Characters lower(CharactersView text)
{
    if (!is_ascii(text))
        return narrow(wide(text).toLower(icu::Locale::getRoot()));
    Characters result(text);
    for (char32_t& c : result)
        c += c >= 'A' && c <= 'Z' ? 32 : 0;
    return result;
}

Characters upper(CharactersView text)
{
    return narrow(wide(text).toUpper(icu::Locale::getRoot()));
}

CharactersView strip(CharactersView text)
{
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

std::vector<Characters> words_of(CharactersView text)
{
    std::vector<Characters> words;
    bool inside = false;
    for (const char32_t c : text) {
        const bool in_word = !is_space(c);
        if (in_word && !inside)
            words.emplace_back();
        if (in_word)
            words.back() += c;
        inside = in_word;
    }
    return words;
}

std::vector<CharactersView> split(CharactersView text, char32_t separator)
{
    std::vector<CharactersView> parts;
    for (std::size_t at = text.find(separator); at != CharactersView::npos; at = text.find(separator)) {
        parts.push_back(text.substr(0, at));
        text.remove_prefix(at + 1);
    }
    parts.push_back(text);
    return parts;
}

std::vector<CharactersView> numbers_of(CharactersView text)
{
    std::vector<CharactersView> numbers;
    for (std::size_t begin = 0; begin < text.size();) {
        std::size_t end = begin;
        while (end < text.size() && is_digit(text[end]))
            ++end;
        if (end > begin)
            numbers.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return numbers;
}

Characters replaced(CharactersView text, CharactersView from, CharactersView to)
{
    Characters result;
    for (std::size_t at = text.find(from); at != CharactersView::npos; at = text.find(from)) {
        result.append(text.substr(0, at)).append(to);
        text.remove_prefix(at + from.size());
    }
    return result.append(text);
}

Characters blanked(CharactersView text, CharactersView characters)
{
    Characters result(text);
    std::ranges::replace_if(
        result, [&](char32_t c) { return characters.find(c) != CharactersView::npos; }, U' ');
    return result;
}

Characters single_spaced(CharactersView text)
{
    Characters result;
    for (const char32_t c : text) {
        if (c != ' ' || result.empty() || result.back() != ' ')
            result += c;
    }
    return result;
}

} // namespace lava
