#pragma once

#include "analysis/metrics/characters.h"

#include <vector>

namespace lava {

/// SQuAD's normal form, in words: lower case, no ASCII punctuation, no articles.
std::vector<Characters> normal_words(CharactersView text);

/// The Chinese counterpart, one string: lower case, neither punctuation nor white space.
Characters normal_chinese(CharactersView text);

/// F1 of two bags of tokens.
double f1(const std::vector<Characters>& prediction, const std::vector<Characters>& truth);

} // namespace lava
