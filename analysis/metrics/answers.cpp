#include "analysis/metrics/answers.h"

#include "base/error.h"

#include <unicode/uchar.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace lava {

namespace {

std::string ascii_digits(CharactersView text)
{
    std::string digits;
    for (const char32_t c : text)
        digits
            += is_digit(c) ? static_cast<char>('0' + u_charDigitValue(static_cast<UChar32>(c))) : static_cast<char>(c);
    return digits;
}

/// "%.0f" of a double is exact.
std::string whole_text(double value)
{
    char text[400];
    const auto [end, failure] = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, 0);
    return value == 0 ? "0" : std::string(text, end);
}

} // namespace

std::vector<Characters> texts_of(const nlohmann::json& answers)
{
    if (answers.is_string())
        return {characters_of(answers.get_ref<const std::string&>())};
    if (!answers.is_array())
        throw Error("expected a list of strings, found a " + kind_of(answers));
    std::vector<Characters> texts;
    for (const nlohmann::json& answer : answers) {
        if (!answer.is_string())
            throw Error("expected a list of strings, found a " + kind_of(answer) + " in it");
        texts.push_back(characters_of(answer.get_ref<const std::string&>()));
    }
    return texts;
}

const nlohmann::json& first_of(const nlohmann::json& answers)
{
    if (!answers.is_array())
        return answers;
    if (answers.empty())
        throw Error("the list is empty");
    return answers[0];
}

std::string kind_of(const nlohmann::json& value)
{
    if (value.is_array())
        return "list";
    return value.is_null() ? "null" : value.type_name();
}

bool equals(const nlohmann::json& answer, CharactersView text)
{
    return answer.is_string() && characters_of(answer.get_ref<const std::string&>()) == text;
}

std::optional<std::string> whole_number(CharactersView text)
{
    constexpr std::size_t most_digits = 4300;
    const bool negative = text.starts_with(U'-');
    if (negative || text.starts_with(U'+'))
        text.remove_prefix(1);
    Characters digits;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool between = i > 0 && i + 1 < text.size() && text[i] == '_' && text[i - 1] != '_';
        if (!is_digit(text[i]) && !between)
            return std::nullopt;
        if (!between)
            digits += text[i];
    }
    if (digits.empty() || digits.size() > most_digits)
        return std::nullopt;
    std::string number = ascii_digits(digits);
    number.erase(0, std::min(number.find_first_not_of('0'), number.size() - 1));
    return (negative && number != "0" ? "-" : "") + number;
}

bool equals_number(const nlohmann::json& answer, const std::string& whole_number)
{
    if (answer.is_boolean())
        return whole_number == (answer.get<bool>() ? "1" : "0");
    if (answer.is_number_float()) {
        const double value = answer.get<double>();
        return std::trunc(value) == value && whole_text(value) == whole_number;
    }
    return answer.is_number() && answer.dump() == whole_number;
}

double decimal_number(CharactersView text)
{
    const std::string digits = ascii_digits(text);
    double value = 0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return failure == std::errc::result_out_of_range ? HUGE_VAL : value; // numbers of digits can only be too large
}

} // namespace lava
