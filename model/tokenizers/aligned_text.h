#pragma once

#include "model/tokenizer.h"

#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Text on its way to tokens: what normalization made of it, and for each of its bytes the bytes of the text that was
/// given. Bytes that were put in front have an empty source.
struct AlignedText
{
    std::string text;
    std::vector<ByteRange> sources; ///< [text.size()]

    AlignedText slice(std::size_t begin, std::size_t end) const
    {
        return {text.substr(begin, end - begin),
            {sources.begin() + static_cast<std::ptrdiff_t>(begin), sources.begin() + static_cast<std::ptrdiff_t>(end)}};
    }

    /// Bytes of the original text that text[begin, end) was made of; begin < end.
    ByteRange source(std::size_t begin, std::size_t end) const { return {sources[begin].begin, sources[end - 1].end}; }

    void append(std::string_view bytes, ByteRange source)
    {
        text += bytes;
        sources.resize(text.size(), source);
    }

    void append(const AlignedText& other, std::size_t begin, std::size_t end)
    {
        text.append(other.text, begin, end - begin);
        sources.insert(sources.end(), other.sources.begin() + static_cast<std::ptrdiff_t>(begin),
            other.sources.begin() + static_cast<std::ptrdiff_t>(end));
    }

    /// Nothing is put in front of an empty text, as in the tokenizers library.
    void prepend(std::string_view bytes)
    {
        if (!text.empty()) {
            const ByteRange before{sources.front().begin, sources.front().begin};
            text.insert(0, bytes);
            sources.insert(sources.begin(), bytes.size(), before);
        }
    }
};

/// text[begin, end) of what the user gave, as it is.
inline AlignedText aligned(std::string_view text, std::size_t begin, std::size_t end)
{
    AlignedText result{std::string(text.substr(begin, end - begin)), {}};
    result.sources.reserve(end - begin);
    for (std::size_t at = begin; at < end; ++at) {
        result.sources.push_back({at, at + 1});
    }
    return result;
}

} // namespace lava
