#pragma once

#include "model/tokenizer.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lava {

/// Text of tokens as transformers 5.2 decodes it with skip_special_tokens: what benchmarks make of a prompt that they
/// cut and of an answer that they score. Characters of which some bytes only are there become U+FFFD; spaces before
/// punctuation go where tokenizer_config.json asks for it (clean_up_tokenization_spaces).
class OfficialDecoder
{
public:
    /// `tokenizer` is that of `model_folder` and must outlive this.
    OfficialDecoder(const Tokenizer& tokenizer, const std::filesystem::path& model_folder);

    std::string operator()(const std::vector<std::int64_t>& ids) const;
    const Tokenizer& tokenizer() const { return tokenizer_; }

private:
    const Tokenizer& tokenizer_;
    bool byte_fallback_ = false; ///< SentencePiece's <0xE4>: a run of them that is no UTF-8 is U+FFFD byte by byte
    bool cleans_up_ = false;
};

} // namespace lava
