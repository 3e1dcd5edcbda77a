#pragma once

#include "model/tokenizer.h"

#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// A chat template of the ChatML family: <|im_start|>ROLE\nCONTENT<|im_end|>\n for each message, and a system message
/// of its own where the conversation does not begin with one.
struct ChatTemplate
{
    std::string default_system; ///< content of that system message; empty: none is added

    /// The conversation as text, the assistant's turn opened.
    std::string apply(const std::vector<ChatMessage>& messages) const;
};

/// Recognises the template by its Jinja text. Throws Error naming `file` where it is not of the ChatML family: a
/// template that was guessed would give a prompt the model never saw in training.
ChatTemplate parse_chat_template(std::string_view jinja, const std::string& file);

} // namespace lava
