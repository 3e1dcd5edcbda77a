#pragma once

#include "analysis/metrics/characters.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace lava {

// What counts as right, as the JSON of a record has it: the official scorers tell 4 from "4", and a text from a list.

/// The strings of a list; one string is a list of one. Throws Error.
std::vector<Characters> texts_of(const nlohmann::json& answers);

/// The first of a list, or what is no list. Throws Error where the list is empty.
const nlohmann::json& first_of(const nlohmann::json& answers);

/// "list", "string", "number", ...
std::string kind_of(const nlohmann::json& value);

/// Whether Python has `answer == text`.
bool equals(const nlohmann::json& answer, CharactersView text);

/// What Python's int() makes of `text`, in digits ("-12"); nothing where it is no whole number, or one of more than the
/// 4300 digits that Python converts.
std::optional<std::string> whole_number(CharactersView text);

/// Whether Python has `answer == number`.
bool equals_number(const nlohmann::json& answer, const std::string& whole_number);

/// A decimal number of any script's digits as a double.
double decimal_number(CharactersView text);

} // namespace lava
