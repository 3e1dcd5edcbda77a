#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>

namespace lava {

/// What `vocab.json` and `merges.txt` mean, as a tokenizer.json: these older files name neither the words that a text
/// is split into nor its normal form, so that the tokenizer's class in tokenizer_config.json decides (GPT2Tokenizer,
/// Qwen2Tokenizer; without one, model_type in config.json). Added tokens: tokenizer_config.json, added_tokens.json.
/// Throws Error naming the class that is not known, or the file that is damaged.
nlohmann::json read_vocab_and_merges(const std::filesystem::path& model_folder);

} // namespace lava
