#pragma once

#include <string>

namespace lava {

/// Oniguruma's dialect (Ruby), which tokenizer.json is written in, in PCRE2's: what both read alike passes through;
/// what they read differently is spelled out. Throws Error naming `what` and the construct where that is not supported.
std::string translate_ruby_pattern(const std::string& pattern, const std::string& what);

} // namespace lava
