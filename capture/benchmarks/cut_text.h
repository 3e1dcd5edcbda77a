#pragma once

#include "capture/benchmarks/sample.h"
#include "model/official_decoder.h"

#include <string>
#include <vector>

namespace lava {

struct CutText
{
    std::string text;
    std::vector<TextRange> ranges; ///< what is left of those given
};

/// Leaves the middle of a text out: the first and last half of `tokens` tokens of `encoding`, which is of `text`, made
/// text again; all of its tokens where they are not more. `joined`: in one piece; else each by itself.
CutText cut_middle(const OfficialDecoder& decoder, std::string_view text, const Encoding& encoding, std::int64_t tokens,
    bool joined, const std::vector<TextRange>& ranges);

} // namespace lava
