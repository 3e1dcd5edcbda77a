#pragma once

#include "model/tokenizers/aligned_text.h"
#include "model/tokenizers/json_view.h"

#include <functional>
#include <vector>

namespace lava {

/// What is done to text before it is split: Unicode normal forms, replacements, a prefix.
class Normalizer
{
public:
    Normalizer() = default;
    /// tokenizer.json's "normalizer". Throws Error naming a kind that is not known.
    explicit Normalizer(const JsonView& json);

    AlignedText operator()(AlignedText text) const;

private:
    void add(const JsonView& json, int depth);
    std::vector<std::function<AlignedText(AlignedText)>> steps_;
};

} // namespace lava
