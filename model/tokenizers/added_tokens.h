#pragma once

#include "model/tokenizers/aligned_text.h"
#include "model/tokenizers/json_view.h"
#include "model/tokenizers/normalizer.h"

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace lava {

/// A token that is looked for in the text before anything else ("<|im_start|>").
struct AddedToken
{
    std::string text;
    std::int64_t id = 0;
    bool special = false;
    bool normalized = false; ///< looked for in normalized text, itself normalized
    bool single_word = false; ///< not inside a word
    bool lstrip = false, rstrip = false; ///< takes the white space before or behind it along
    bool given = true; ///< a file says its id; otherwise it is just the next free one, which no model may know
};

/// An element of tokenizer.json's "added_tokens" or tokenizer_config.json's "added_tokens_decoder".
AddedToken read_added_token(const JsonView& json, std::int64_t id);

/// A stretch of text: an added token's, or what lies between two.
struct TextPart
{
    std::int64_t id = -1; ///< of the added token; -1: plain text
    std::size_t begin = 0;
    std::size_t end = 0;
};

/// Finds added tokens, leftmost first and the longest of those, as the tokenizers library does.
class AddedTokenFinder
{
public:
    AddedTokenFinder() = default;
    explicit AddedTokenFinder(std::vector<AddedToken> tokens);

    std::vector<TextPart> find(std::string_view text) const;

private:
    const AddedToken* at(std::string_view text, std::size_t position) const;
    std::array<std::vector<AddedToken>, 256> tokens_; ///< by first byte, longest first
};

/// Both passes over a text: the tokens that are looked for in it as it is, then those looked for in what normalization
/// makes of the rest.
class AddedTokens
{
public:
    AddedTokens() = default;
    AddedTokens(const std::vector<AddedToken>& tokens, Normalizer normalizer);

    /// Calls one of the two for each stretch of the text, in order.
    void split(std::string_view text, const std::function<void(std::int64_t, ByteRange)>& added,
        const std::function<void(AlignedText)>& plain) const;

private:
    Normalizer normalizer_;
    AddedTokenFinder raw_, normalized_;
};

} // namespace lava
