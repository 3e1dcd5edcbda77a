#pragma once

#include "analysis/metrics/characters.h"

namespace lava {

/// fuzzywuzzy's ratio, a whole percentage, as it comes without python-Levenshtein: from difflib's SequenceMatcher,
/// which passes over characters that are frequent in a `second` of 200 or more.
int difflib_ratio(CharactersView first, CharactersView second);

/// The same with python-Levenshtein installed (or of rapidfuzz, rounded): from the longest common subsequence.
int levenshtein_ratio(CharactersView first, CharactersView second);

} // namespace lava
