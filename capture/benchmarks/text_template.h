#pragma once

#include "capture/benchmarks/sample.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava {

struct FilledTemplate
{
    std::string text;
    std::vector<TextRange> fields; ///< where each field's value stands; one that is empty is left out
};

using TemplateFields = std::vector<std::pair<std::string_view, std::string_view>>;

/// What Python's str.format makes of `pattern`: {name} becomes the field's value, {{ and }} are braces. Throws Error
/// naming the field that is not known.
FilledTemplate fill(std::string_view pattern, const TemplateFields& fields);

/// The first place in `text` at or behind `from` where `wanted` stands as words of its own; nothing where there is
/// none.
std::optional<ByteRange> find_words(std::string_view text, std::string_view wanted, std::size_t from = 0);

} // namespace lava
