#pragma once

#include "model/tokenizer.h"

namespace lava {

/// llama2.c's tokenizer.bin: int32 longest token, then per token float32 score, int32 length, bytes; little endian.
/// Neighbours whose union has the highest score merge first; bytes outside the vocabulary become <0xNN>; a space is put
/// in front; BOS is 1. Throws Error naming the file where it is damaged.
std::unique_ptr<Tokenizer> read_llama2c_tokenizer(const std::filesystem::path& file);

} // namespace lava
