#pragma once

#include "analysis/metrics/characters.h"

namespace lava {

/// fuzzywuzzy's ratio, a whole percentage, as it comes without python-Levenshtein: from difflib's SequenceMatcher,
/// which passes over characters that are frequent in a `second` of 200 or more.
int difflib_ratio(CharactersView first, CharactersView second);

/// fuzzywuzzy's ratio as it comes with python-Levenshtein (or rapidfuzz's, rounded): from the longest common
/// subsequence.
int levenshtein_ratio(CharactersView first, CharactersView second);

} // namespace lava
