#include "analysis/metrics/infinitebench.h"

#include "analysis/metrics/answers.h"
#include "analysis/metrics/rouge.h"
#include "analysis/metrics/word_overlap.h"
#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace lava::infinitebench {

namespace {

using nlohmann::json;

constexpr CharactersView separators = U"\n:\"'.,?!{}";

bool contains(const std::vector<Characters>& texts, CharactersView text)
{
    return std::ranges::find(texts, text) != texts.end();
}

std::vector<CharactersView> ascii_numbers_of(CharactersView text)
{
    std::vector<CharactersView> numbers;
    constexpr CharactersView digits = U"0123456789";
    for (std::size_t end = 0;;) {
        const std::size_t begin = text.find_first_of(digits, end);
        if (begin == CharactersView::npos)
            return numbers;
        end = std::min(text.find_first_not_of(digits, begin), text.size());
        numbers.push_back(text.substr(begin, end - begin));
    }
}

/// The first \d+\.\d+ or \d+, whichever is longer.
CharactersView first_number(CharactersView text)
{
    const auto begin = std::ranges::find_if(text, is_digit);
    const auto whole = std::find_if_not(begin, text.end(), is_digit);
    auto end = whole;
    if (whole != text.end() && *whole == '.')
        end = std::find_if_not(whole + 1, text.end(), is_digit);
    if (end != whole && end == whole + 1)
        end = whole;
    return {begin, end};
}

/// What the answer's text is expected to begin with, and its letter.
std::vector<Characters> text_and_letter(const json& truth)
{
    if (!truth.is_array() || truth.size() < 2)
        throw Error("expected a list of the right option's text and its letter, found a " + kind_of(truth));
    return texts_of(truth);
}

std::vector<Characters> listed_texts(const json& truth)
{
    if (!truth.is_array())
        throw Error("expected a list of strings, found a " + kind_of(truth));
    return texts_of(truth);
}

/// What follows the first of `prefixes` that is found, after one more character: whether that begins with one of
/// `expected`. Nothing where there is no prefix.
std::optional<bool> begins_after(
    CharactersView text, std::initializer_list<CharactersView> prefixes, const std::vector<Characters>& expected)
{
    for (const CharactersView prefix : prefixes) {
        const std::size_t at = text.find(prefix);
        if (at == CharactersView::npos)
            continue;
        if (text.size() < at + prefix.size() + 1)
            return false;
        const CharactersView rest = text.substr(at + prefix.size() + 1);
        return std::ranges::any_of(expected, [rest](const Characters& start) { return rest.starts_with(start); });
    }
    return std::nullopt;
}

} // namespace

double kv_retrieval(CharactersView prediction, const json& truth)
{
    return std::ranges::any_of(
        words_of(blanked(prediction, separators)), [&](const Characters& word) { return equals(truth, word); });
}

double first_integer(CharactersView prediction, const json& truth)
{
    const std::vector<CharactersView> numbers = ascii_numbers_of(prediction);
    return equals(first_of(truth), numbers.empty() ? CharactersView() : numbers.front());
}

double code_run(CharactersView prediction, const json& truth)
{
    const json& expected = first_of(truth);
    const std::vector<Characters> words = words_of(blanked(prediction, U"\n.`'\":"));
    const auto number = words.empty() ? std::nullopt : whole_number(words.back());
    return number && equals_number(expected, *number);
}

double code_debug(CharactersView prediction, const json& truth)
{
    const std::vector<Characters> expected = text_and_letter(truth);
    const Characters& letter = expected[1];
    CharactersView text = strip(prediction);
    if (text.substr(0, 2) == letter + U'.' || text.substr(0, 2) == letter + U':')
        return 1;
    const Characters blank = replaced(replaced(blanked(text, U"\n`'\"-*"), U"Option", U" "), U"option", U" ");
    return begins_after(
        single_spaced(blank), {U"answer is:", U"is:", U"answer:", U"correct option is:"}, {letter, expected[0]})
        .value_or(false);
}

double math_find(CharactersView prediction, const json& truth)
{
    const json& expected = first_of(truth);
    if (!expected.is_number() && !expected.is_boolean())
        throw Error("expected a number, found a " + kind_of(expected));
    const CharactersView number = first_number(prediction);
    if (number.empty())
        return 0;
    if (expected.is_number_float())
        return decimal_number(number) == expected.get<double>();
    const auto whole = whole_number(number);
    return whole && equals_number(expected, *whole);
}

double math_calc(CharactersView prediction, const json& truth, bool skip_first)
{
    const json& expected = truth.is_array() && !truth.empty() && truth[0].is_array() ? truth[0] : truth;
    if (!expected.is_array() || expected.empty())
        throw Error("expected a list of numbers, found "
            + (expected.is_array() ? std::string("an empty one") : "a " + kind_of(expected)));
    std::vector<CharactersView> numbers = ascii_numbers_of(prediction);
    if (skip_first && !numbers.empty())
        numbers.erase(numbers.begin());
    std::size_t right = 0;
    while (right < std::min(expected.size(), numbers.size())) {
        const auto number = whole_number(numbers[right]);
        if (!number || !equals_number(expected[right], *number))
            break;
        ++right;
    }
    return static_cast<double>(right) / static_cast<double>(expected.size());
}

double longdialogue_qa_eng(CharactersView prediction, const json& truth)
{
    const std::vector<Characters> expected = listed_texts(truth);
    if (expected.empty())
        throw Error("the list is empty");
    return std::ranges::any_of(words_of(blanked(strip(prediction), separators)),
        [&](const Characters& word) { return upper(word) == expected[0]; });
}

double longbook_choice_eng(CharactersView prediction, const json& truth)
{
    const std::vector<Characters> expected = text_and_letter(truth);
    const CharactersView text = strip(prediction);
    if (text.empty())
        return 0;
    constexpr CharactersView letters = U"ABCD";
    if (letters.find(text[0]) != CharactersView::npos)
        return contains(expected, text.substr(0, 1));
    if (contains(expected, text))
        return 1;
    const Characters plain = single_spaced(blanked(text, U"\n\"'.,?!{}"));
    if (const auto named = begins_after(plain, {U"answer is:", U"answer:", U"answer is", U"option is"}, expected))
        return *named;
    for (const Characters& word : words_of(plain)) {
        if (letters.find(word) != CharactersView::npos)
            return contains(expected, word);
    }
    return 0;
}

double longbook_qa_eng(CharactersView prediction, const json& truth)
{
    double best = 0;
    for (const Characters& answer : listed_texts(truth))
        best = std::max(best, f1(normal_words(prediction), normal_words(answer)));
    return best;
}

double longbook_qa_chn(CharactersView prediction, const json& truth)
{
    const auto singly = [](CharactersView text) {
        std::vector<Characters> characters;
        for (const char32_t c : normal_chinese(text))
            characters.emplace_back(1, c);
        return characters;
    };
    double best = 0;
    for (const Characters& answer : listed_texts(truth))
        best = std::max(best, f1(singly(prediction), singly(answer)));
    return best;
}

double longbook_sum_eng(CharactersView prediction, const json& truth)
{
    double best = 0;
    for (const Characters& answer : texts_of(truth))
        best = std::max(best, rouge_l_of_lines(prediction, answer));
    return best;
}

} // namespace lava::infinitebench
