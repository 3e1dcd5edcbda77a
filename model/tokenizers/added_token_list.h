#pragma once

#include "model/tokenizers/added_tokens.h"
#include "model/tokenizers/tokenizer_config.h"

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace lava {

/// The tokens that are added to a vocabulary, with the ids that the tokenizers library gives them, whatever a file
/// says: that of the vocabulary, or else the next that is free. A file that says another is refused.
class AddedTokenList
{
public:
    /// `id_of` returns -1 for what is not in the vocabulary; `file` is named in errors.
    AddedTokenList(std::function<std::int64_t(const std::string&)> id_of, std::int64_t vocab_size, std::string file);

    /// The id may be -1: any. A token that is there already gets the other flags, and stays special if it was.
    void add(AddedToken token);
    /// What tokenizer_config.json, which is named in errors from now on, has beyond that: other flags, further tokens.
    void add(const TokenizerConfig& config, const std::string& file);

    const std::vector<AddedToken>& tokens() const { return tokens_; }

private:
    AddedToken* find(const std::string& text);
    void add_new(const std::vector<AddedToken>& tokens);
    void require_order(const std::vector<AddedToken>& tokens);

    std::function<std::int64_t(const std::string&)> id_of_;
    std::int64_t next_id_;
    std::string file_;
    std::vector<AddedToken> tokens_;
    std::unordered_map<std::string, std::size_t> places_; ///< of a text in tokens_
};

} // namespace lava
