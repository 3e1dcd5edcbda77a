#pragma once

#include "model/tokenizer.h"

namespace lava {

/// Byte-level BPE (GPT-2, SmolLM2) from tokenizer.json; tokenizer_config.json beside it gives the chat template.
/// Throws Error naming file, key and kind where the file asks for anything else.
std::unique_ptr<Tokenizer> read_bpe_tokenizer(const std::filesystem::path& model_folder);

} // namespace lava
