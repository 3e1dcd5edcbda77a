#pragma once

#include "model/tokenizer.h"

#include <string>
#include <string_view>

namespace lava {

/// Where `span`, bytes of the user's `text`, stands in `rendering`, which the chat template makes of that text; without
/// white space at its ends that the template takes off. Throws Error naming the span where its text is not found
/// there, is changed, or stands there more than once.
ByteRange span_in_chat(const Tokenizer& tokenizer, std::string_view text, std::string_view rendering,
    const std::string& name, ByteRange span);

} // namespace lava
