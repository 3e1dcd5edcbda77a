#include "capture/benchmarks/cut_text.h"

#include <algorithm>

namespace lava {

namespace {

using Ids = std::vector<std::int64_t>;

/// Where each byte of `kept` stands in `decoded`, which is `kept` but for characters that decoding dropped (spaces,
/// special tokens) or replaced (U+FFFD). [kept.size() + 1]
std::vector<std::size_t> aligned(std::string_view kept, std::string_view decoded)
{
    constexpr std::string_view replacement = "\xef\xbf\xbd";
    std::vector<std::size_t> places(kept.size() + 1, decoded.size());
    std::size_t j = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
        const bool equal = j < decoded.size() && kept[i] == decoded[j];
        if (!equal && decoded.substr(j).starts_with(replacement)) {
            j += replacement.size();
        }
        places[i] = j;
        j += j < decoded.size() && kept[i] == decoded[j] ? 1 : 0;
    }
    return places;
}

} // namespace

CutText cut_middle(const OfficialDecoder& decoder, std::string_view text, const Encoding& encoding, std::int64_t tokens,
    bool joined, const std::vector<TextRange>& ranges)
{
    const bool fits = std::ssize(encoding.ids) <= tokens;
    const std::int64_t half = tokens / 2;
    const Ids head(encoding.ids.begin(), fits ? encoding.ids.end() : encoding.ids.begin() + half);
    const Ids tail(fits ? encoding.ids.end() : encoding.ids.end() - half, encoding.ids.end());
    CutText result;
    if (joined) {
        Ids both = head;
        both.insert(both.end(), tail.begin(), tail.end());
        result.text = decoder(both);
    } else {
        result.text = decoder(head) + decoder(tail);
    }
    std::size_t cut_begin = 0;
    for (std::size_t i = 0; i < head.size(); ++i) {
        cut_begin = std::max(cut_begin, encoding.ranges[i].end);
    }
    const std::size_t tail_begin
        = tail.empty() ? text.size() : encoding.ranges[encoding.ranges.size() - tail.size()].begin;
    const std::size_t cut_end = std::max(cut_begin, tail_begin);
    const auto places
        = aligned(std::string(text.substr(0, cut_begin)) + std::string(text.substr(cut_end)), result.text);
    const auto place = [&](std::size_t at) {
        return places[at <= cut_begin ? at : at <= cut_end ? cut_begin : cut_begin + (at - cut_end)];
    };
    for (const TextRange& range : ranges) {
        const ByteRange left{place(range.bytes.begin), place(range.bytes.end)};
        if (left.begin < left.end) {
            result.ranges.push_back({range.name, left});
        }
    }
    return result;
}

} // namespace lava
