#include "model/tokenizers/case_folding.h"

#include <unicode/unistr.h>

#include <algorithm>
#include <set>
#include <utility>

namespace lava {

namespace {

icu::UnicodeString folded(char32_t character)
{
    icu::UnicodeString text(static_cast<UChar32>(character));
    return text.foldCase();
}

/// All that fold to several lie here.
constexpr std::pair<char32_t, char32_t> blocks[] = {{0x80, 0x1fff}, {0xfb00, 0xfb1f}};

std::set<std::pair<UChar32, UChar32>> find_pairs()
{
    std::set<std::pair<UChar32, UChar32>> pairs;
    for (const auto& [first, last] : blocks) {
        for (char32_t character = first; character <= last; ++character) {
            const icu::UnicodeString text = folded(character);
            if (text.countChar32() > 1) {
                pairs.emplace(text.char32At(0), text.char32At(text.moveIndex32(0, 1)));
            }
        }
    }
    return pairs;
}

bool folds_to_several(char32_t character)
{
    return folded(character).countChar32() > 1;
}

bool some_folds_to_several(char32_t first, char32_t last)
{
    for (const auto& [begin, end] : blocks) {
        for (char32_t character = std::max(first, begin); character <= std::min(last, end); ++character) {
            if (folds_to_several(character)) {
                return true;
            }
        }
    }
    return false;
}

/// Some character folds to what begins with these two, in either case.
bool are_folded_from_one(char32_t first, char32_t second)
{
    static const std::set<std::pair<UChar32, UChar32>> pairs = find_pairs();
    return pairs.contains({folded(first).char32At(0), folded(second).char32At(0)});
}

} // namespace

bool FoldWatch::agrees(char32_t character)
{
    const char32_t before = std::exchange(before_, character);
    return !folds_to_several(character) && (before == 0 || !are_folded_from_one(before, character));
}

bool FoldWatch::agrees_in_class(char32_t character)
{
    if (character == U'-' && first_ != 0) {
        range_ = std::exchange(first_, 0);
        return true;
    }
    const char32_t first = range_ != 0 ? range_ : character;
    range_ = 0;
    first_ = character;
    return !some_folds_to_several(first, character);
}

} // namespace lava
