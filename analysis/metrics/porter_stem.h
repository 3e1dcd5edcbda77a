#pragma once

#include <string>

namespace lava {

/// Stem of a lower-case word of a-z and 0-9, by Porter's algorithm with NLTK's extensions.
std::string porter_stem(std::string word);

} // namespace lava
