#pragma once

#include "model/tokenizers/aligned_text.h"
#include "model/tokenizers/json_view.h"

#include <functional>
#include <vector>

namespace lava {

/// Cuts normalized text into the words that BPE never merges across.
class PreTokenizer
{
public:
    PreTokenizer() = default;
    /// tokenizer.json's "pre_tokenizer". Throws Error naming a kind that is not known.
    explicit PreTokenizer(const JsonView& json);

    /// No word is empty.
    std::vector<AlignedText> operator()(AlignedText text) const;
    /// The words are bytes, each with GPT-2's printable stand-in in the vocabulary.
    bool byte_level() const { return byte_level_; }

private:
    using Step = std::function<std::vector<AlignedText>(AlignedText)>;
    void add(const JsonView& json, int depth);
    void add_byte_level(const JsonView& json);

    std::vector<Step> steps_;
    bool byte_level_ = false;
};

} // namespace lava
