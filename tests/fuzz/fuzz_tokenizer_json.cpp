#include "base/error.h"
#include "model/tokenizers/json_tokenizer.h"

#include <algorithm>
#include <cstdlib>

/// A tokenizer.json, then (behind a zero byte) a text that it encodes. The ranges of the tokens must lie in the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::uint8_t* end = std::find(data, data + size, std::uint8_t{0});
    const auto document = nlohmann::json::parse(data, end, nullptr, false);
    if (document.is_discarded()) {
        return 0;
    }
    try {
        const auto tokenizer = lava::make_json_tokenizer("nowhere", "tokenizer.json", document);
        const std::string text = end == data + size
            ? "Hello wörld 12\n <s>"
            : std::string(reinterpret_cast<const char*>(end) + 1, reinterpret_cast<const char*>(data) + size);
        const lava::Encoding encoding = tokenizer->encode(text, true);
        for (const lava::ByteRange& range : encoding.ranges) {
            if (range.begin > range.end || range.end > text.size()) {
                std::abort();
            }
        }
        tokenizer->decode(encoding.ids);
    } catch (const lava::Error&) { // a refusal is an answer
    }
    return 0;
}
