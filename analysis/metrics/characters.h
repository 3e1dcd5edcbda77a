#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Text as Python has it, a sequence of code points: the official scorers cut, count and compare in these.
using Characters = std::u32string;
using CharactersView = std::u32string_view;

/// Bytes that are not UTF-8 become U+FFFD.
Characters characters_of(std::string_view utf8);
std::string utf8_of(CharactersView text);

/// What Python's re takes for \s, \d and \w; str.split() and str.strip() go by the same white space.
bool is_space(char32_t character);
bool is_digit(char32_t character);
bool is_word(char32_t character);
/// One of the 32 of string.punctuation.
bool is_ascii_punctuation(char32_t character);

Characters lower(CharactersView text);
Characters upper(CharactersView text);
CharactersView strip(CharactersView text);

/// Words of a text: its parts between white space.
std::vector<Characters> words_of(CharactersView text);
/// Parts of a text between separators: one part more than there are separators.
std::vector<CharactersView> split(CharactersView text, char32_t separator);
/// Every run of digits, as \d+ finds them.
std::vector<CharactersView> numbers_of(CharactersView text);

Characters replaced(CharactersView text, CharactersView from, CharactersView to);
/// Every one of `characters` becomes a blank.
Characters blanked(CharactersView text, CharactersView characters);
/// Two blanks become one until there are none left.
Characters single_spaced(CharactersView text);

} // namespace lava
