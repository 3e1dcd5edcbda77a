#pragma once

#include "model/tokenizer.h"

#include <filesystem>
#include <memory>

namespace lava {

/// `tokenizer.model` through libsentencepiece, with the added tokens of tokenizer_config.json and added_tokens.json.
/// BOS is put in front as models of this kind expect, unless tokenizer_config.json says otherwise. As transformers has
/// it, what stands behind an added token begins with a space of its own only in its "legacy" behaviour. Throws Error
/// naming the file where it is damaged.
std::unique_ptr<Tokenizer> read_sentencepiece_tokenizer(const std::filesystem::path& model_folder);

} // namespace lava
