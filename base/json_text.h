#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace lava {

/// Lists and objects in one another that a file may have. JSON is copied, printed and freed by functions that call
/// themselves a level deeper: some ten thousand levels end a program.
constexpr int most_json_levels = 200;

/// Throws Error beginning with `where` if `text`, as far as it is JSON, is nested deeper than most_json_levels.
void refuse_deep_json(std::string_view text, const std::string& where);

/// The value in `text`, discarded (`is_discarded()`) where it is no JSON. Throws as refuse_deep_json.
nlohmann::json parse_json(std::string_view text, const std::string& where);

/// The same of a file's whole content. Throws Error naming the file, too, where it cannot be read.
nlohmann::json parse_json_file(const std::filesystem::path& file);

/// What `text`, which is no JSON, has instead, for a message: "NaN at byte 12, a number that JSON does not have",
/// "something else at byte 12".
std::string what_is_no_json(std::string_view text);

} // namespace lava
