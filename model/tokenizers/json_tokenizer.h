#pragma once

#include "model/tokenizer.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>

namespace lava {

/// BPE as tokenizer.json describes it: byte-level (GPT-2, Llama 3, Qwen, SmolLM, Mistral's tekken) or SentencePiece's
/// with byte fallback (Llama 2, Mistral, TinyLlama, Phi-3). Reproduces the `tokenizers` library (Hugging Face, 0.22).
/// `document` is what `file`, named in errors, holds; tokenizer_config.json of `folder` is heeded. "truncation" and
/// "padding" are not: a prompt is recorded whole. Throws Error naming file and key of anything that is not known.
std::unique_ptr<Tokenizer> make_json_tokenizer(
    const std::filesystem::path& folder, const std::filesystem::path& file, const nlohmann::json& document);

} // namespace lava
