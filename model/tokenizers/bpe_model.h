#pragma once

#include "model/tokenizers/aligned_text.h"
#include "model/tokenizers/json_view.h"
#include "model/tokenizers/merge.h"

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lava {

/// Byte-pair encoding of one word: the vocabulary, the merges, and what becomes of characters it lacks.
class BpeModel
{
public:
    /// tokenizer.json's "model". `byte_level`: words are bytes and the vocabulary holds their printable stand-ins; else
    /// words are characters. Throws Error naming key and kind where it is damaged or not known.
    BpeModel(const JsonView& json, bool byte_level);

    /// Appends the tokens of `word`. Throws Error where a character is in the vocabulary neither as such, nor as bytes
    /// ("<0x0A>", where the model falls back to them), nor as the unknown token.
    void encode(const AlignedText& word, Encoding& encoding) const;

    /// Printable form and id of every token.
    const std::unordered_map<std::string, std::int64_t>& vocabulary() const { return ids_; }
    bool byte_fallback() const { return byte_fallback_; }

private:
    void read_vocabulary(const JsonView& json);
    void read_merges(const JsonView& json);
    std::vector<Symbol> byte_symbols(const AlignedText& word) const;
    std::vector<Symbol> character_symbols(const AlignedText& word) const;
    bool fall_back(const std::string& text, std::size_t begin, std::size_t end, std::vector<Symbol>& symbols) const;
    std::int64_t whole(const std::string& word) const;

    std::unordered_map<std::string, std::int64_t> ids_;
    std::unordered_map<std::uint64_t, Merge> merges_; ///< by pair of ids
    std::array<std::int64_t, 256> byte_ids_{}; ///< -1 where the vocabulary lacks the byte
    std::int64_t unknown_ = -1; ///< -1: there is none
    bool byte_level_ = false;
    bool byte_fallback_ = false;
    bool fuse_unknown_ = false;
    bool ignore_merges_ = false; ///< a word that is a token is that token, whatever the merges
};

} // namespace lava
