#pragma once

#include "model/tokenizer.h"

#include <memory>
#include <string_view>
#include <vector>

namespace lava {

/// How digits (Unicode category N) are set apart before the GPT-2 pattern.
enum class DigitSplit
{
    none,
    runs, ///< "12a" becomes "12", "a"
    individual ///< "12a" becomes "1", "2", "a"
};

/// Cuts text into the words that byte-level BPE never merges across: digits first, then GPT-2's pattern (Radford et al.
/// 2019) on each piece. Compiled once; may be used by several threads.
class WordSplitter
{
public:
    explicit WordSplitter(DigitSplit digits);
    ~WordSplitter();
    WordSplitter(const WordSplitter&) = delete;
    WordSplitter& operator=(const WordSplitter&) = delete;

    /// Ranges cover the text without gaps. `text` must be valid UTF-8.
    std::vector<ByteRange> split(std::string_view text) const;

private:
    struct Pattern;
    void split_words(std::string_view text, std::size_t begin, std::size_t end, std::vector<ByteRange>& words) const;
    std::unique_ptr<Pattern> words_;
    std::unique_ptr<Pattern> digits_; ///< null where digits are not set apart
};

} // namespace lava
