#include "base/json_text.h"

#include "base/error.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace lava {

void refuse_deep_json(std::string_view text, const std::string& where)
{
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string && c == '\\') {
            ++i;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '[' || c == '{') && ++depth > most_json_levels) {
            throw Error(where + ": JSON nested deeper than " + std::to_string(most_json_levels) + " levels");
        } else if (!in_string && (c == ']' || c == '}')) {
            --depth;
        }
    }
}

nlohmann::json parse_json(std::string_view text, const std::string& where)
{
    refuse_deep_json(text, where);
    return nlohmann::json::parse(text, nullptr, false);
}

nlohmann::json parse_json_file(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    if (!stream || std::filesystem::is_directory(file))
        throw Error(file.string() + ": cannot be read");
    std::ostringstream text;
    text << stream.rdbuf();
    return parse_json(text.view(), file.string());
}

std::string what_is_no_json(std::string_view text)
{
    std::size_t byte = 0; // from 1, where the parser stopped
    try {
        const auto value = nlohmann::json::parse(text);
    } catch (const nlohmann::json::parse_error& error) {
        byte = error.byte;
    }
    for (const std::string_view number : {"NaN", "Infinity"}) {
        // the parser tells the place of the letter that does not fit, which may be the second
        for (const std::size_t back : {std::size_t{0}, std::size_t{1}}) {
            if (byte > back && text.substr(byte - 1 - back).starts_with(number))
                return std::string(number) + " at byte " + std::to_string(byte - back)
                    + ", a number that JSON does not have";
        }
    }
    return "something else at byte " + std::to_string(byte);
}

} // namespace lava
