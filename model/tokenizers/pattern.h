#pragma once

#include "model/tokenizer.h"
#include "model/tokenizers/json_view.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// A regular expression as tokenizer.json writes it: Oniguruma's dialect, matched through PCRE2. Compiled once; may be
/// used by several threads.
class Pattern
{
public:
    /// Throws Error naming `what` where the pattern is malformed or where the two dialects would disagree.
    Pattern(const std::string& pattern, const std::string& what);
    ~Pattern();
    Pattern(Pattern&&) noexcept;
    Pattern& operator=(Pattern&&) noexcept;

    /// All matches, in order; empty ones too. `text` must be valid UTF-8.
    std::vector<ByteRange> find_all(std::string_view text) const;
    /// Bytes of the match at the very beginning; 0 where there is none.
    std::size_t match_prefix(std::string_view text) const;

private:
    struct Code;
    std::unique_ptr<Code> code_;
};

/// {"String": TEXT} or {"Regex": PATTERN}, as normalizers and pre-tokenizers write it. Throws Error for anything else.
Pattern read_pattern(const JsonView& json);

/// The words of GPT-2 (Radford et al. 2019), which ByteLevel splits into by default.
extern const std::string gpt2_pattern;

} // namespace lava
