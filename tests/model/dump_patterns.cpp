// Prints where patterns match, for tests/parity/compare_patterns.py.

#include "base/error.h"
#include "base/program.h"
#include "model/tokenizers/pattern.h"

#include <nlohmann/json.hpp>

#include <iostream>

namespace {

using Json = nlohmann::json;

Json matches(const lava::Pattern& pattern, const std::string& text)
try {
    Json result = Json::array();
    for (const lava::ByteRange& range : pattern.find_all(text)) {
        if (range.begin < range.end) {
            result.push_back({range.begin, range.end});
        }
    }
    return result;
} catch (const lava::Error& error) {
    return {{"error", error.what()}};
}

Json describe(const Json& entry)
try {
    const lava::Pattern pattern(entry["pattern"], "pattern");
    Json result = Json::array();
    for (const Json& text : entry["texts"]) {
        result.push_back(matches(pattern, text));
    }
    return result;
} catch (const lava::Error& error) {
    return {{"refused", error.what()}};
}

} // namespace

/// Usage: lava-dump-patterns < JSON list of {pattern, texts}. Prints a JSON list of the matches in each text, or of why
/// the pattern is refused.
int main()
{
    return lava::run_program("lava-dump-patterns", [] {
        Json result = Json::array();
        for (const Json& entry : Json::parse(std::cin)) {
            result.push_back(describe(entry));
        }
        // a message may cut a pattern inside a character
        std::cout << result.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
        return 0;
    });
}
