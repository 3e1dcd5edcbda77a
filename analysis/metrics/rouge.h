#pragma once

#include "analysis/metrics/characters.h"

namespace lava {

// Two PyPI packages compute ROUGE, and not the same.

/// "rouge-l" f of the package rouge, of sets of words, sentences being what lies between full stops. 0 where LongBench
/// catches what the package throws: a text without a sentence, or a pair of sentences so long that Python's recursion
/// ends (about a thousand steps through both).
double rouge_l(CharactersView prediction, CharactersView truth);

/// "rouge1" F-measure of the package rouge_score, with Porter's stems.
double rouge_1_of_stems(CharactersView prediction, CharactersView truth);

/// "rougeLsum" F-measure of the package rouge_score, without stems, sentences being lines.
double rouge_l_of_lines(CharactersView prediction, CharactersView truth);

} // namespace lava
