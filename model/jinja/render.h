#pragma once

#include "model/jinja/syntax.h"

#include <ctime>
#include <string>

namespace lava::jinja {

/// The template's text with these variables, as transformers renders chat templates (Jinja 3.1, undefined names are
/// empty). `now`: the time that strftime_now() tells. Throws Error naming the line of what is not supported, does not
/// fit, or goes on without end, and what the template itself refuses by raise_exception().
std::string render(const Block& block, const Dict& variables, std::time_t now);

} // namespace lava::jinja
