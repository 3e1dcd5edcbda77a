// Prints what a tokenizer makes of texts, for tests/parity/compare_tokenizers.py.

#include "base/error.h"
#include "base/program.h"
#include "model/tokenizer.h"

#include <nlohmann/json.hpp>

#include <iostream>

namespace {

using Json = nlohmann::json;

Json describe(const lava::Tokenizer& tokenizer, const std::string& text)
try {
    Json ranges = Json::array();
    const lava::Encoding encoding = tokenizer.encode(text, false);
    for (const lava::ByteRange& range : encoding.ranges) {
        ranges.push_back({range.begin, range.end});
    }
    const std::string decoded = tokenizer.decode(encoding.ids);
    return {{"ids", encoding.ids}, {"ids_with_special_tokens", tokenizer.encode(text, true).ids}, {"ranges", ranges},
        {"decoded", std::vector<int>(decoded.begin(), decoded.end())}};
} catch (const lava::Error& error) {
    return {{"error", error.what()}};
}

} // namespace

/// Usage: lava-dump-tokens FOLDER < JSON list of texts. Prints a JSON list of what each becomes.
int main(int argc, char** argv)
{
    return lava::run_program("lava-dump-tokens", [&] {
        const auto tokenizer = lava::read_tokenizer(argc == 2 ? argv[1] : "");
        Json result = Json::array();
        for (const Json& text : Json::parse(std::cin)) {
            result.push_back(describe(*tokenizer, text.get<std::string>()));
        }
        std::cout << result << '\n';
        return 0;
    });
}
