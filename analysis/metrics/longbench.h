#pragma once

#include "analysis/metrics/characters.h"

#include <span>

namespace lava {

// The metrics of LongBench's metrics.py that are not of words: each of a prediction and one right answer, from 0 to 1.

/// Shared among the classes that the prediction names, after the removal, while the list of them is walked through, of
/// those that the answer contains: the one after a removed one is passed over.
double classification(CharactersView prediction, CharactersView truth, std::span<const Characters> classes);

/// Share of the prediction's numbers that are the answer.
double count_score(CharactersView prediction, CharactersView truth);

/// Share of the prediction's numbers that are the one after `before` ("Paragraph ", "段落") in the answer. Throws Error
/// where the answer has none.
double retrieval(CharactersView prediction, CharactersView truth, CharactersView before);

/// Similarity by `ratio` of the answer and the prediction's first line without `, # or //.
double code_similarity(
    CharactersView prediction, CharactersView truth, int (*ratio)(CharactersView first, CharactersView second));

/// The first line, as eval.py cuts the predictions of some data sets.
CharactersView first_line(CharactersView prediction);

} // namespace lava
