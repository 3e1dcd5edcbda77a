#pragma once

#include "model/tokenizers/added_tokens.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lava {

/// What tokenizer_config.json says beside the vocabulary; all of it may be absent.
struct TokenizerConfig
{
    std::string tokenizer_class; ///< "LlamaTokenizer"; the suffix "Fast" left out
    std::map<std::string, std::string> special_tokens; ///< by role: "bos_token", "eos_token", ...
    std::optional<bool> add_bos_token, add_eos_token; ///< where there is no tokenizer.json, which says it
    bool add_prefix_space = false;
    std::optional<bool> legacy; ///< SentencePiece: a space in front of every stretch of text, not only of the first
    std::vector<AddedToken> added_tokens; ///< added_tokens_decoder, by id

    /// Special tokens without an id (-1), which are added where they are not yet, in this order.
    std::vector<AddedToken> named; ///< by role, as above
    std::vector<AddedToken> model_specific; ///< "image_token" and the like, in no order
    std::vector<AddedToken> extra; ///< extra_special_tokens, or additional_special_tokens

    std::optional<std::string> special_token(const std::string& role) const;
};

/// special_tokens_map.json names what tokenizer_config.json does not. Throws Error naming the file that is damaged.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& model_folder);

} // namespace lava
