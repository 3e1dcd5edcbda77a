#pragma once

#include "model/tokenizers/json_view.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lava {

/// Special tokens around a text: BOS, and whatever else its model expects.
struct SpecialTokens
{
    std::vector<std::int64_t> before, after;
};

/// tokenizer.json's "post_processor". Throws Error naming a kind that is not known.
SpecialTokens read_post_processor(const JsonView& json);

/// What tokenizer.json's "decoder" makes of tokens: text again.
struct Decoding
{
    bool byte_level = false; ///< tokens are GPT-2's stand-ins of bytes
    bool byte_fallback = false; ///< "<0x0A>" is a byte
    std::vector<std::pair<std::string, std::string>> replacements; ///< ("▁", " ")
    std::size_t leading_spaces = 0; ///< that many of a text's first spaces are no part of it
    bool first_token_without_spaces = false;

    /// Bytes of one token of the vocabulary, as they appear in text.
    std::string bytes(const std::string& token) const;
};

/// Throws Error naming a kind that is not known.
Decoding read_decoder(const JsonView& json);

} // namespace lava
