#pragma once

#include "model/tokenizer.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// A model's own chat template, in Jinja, as transformers renders it: one line of the conversation per message, and the
/// assistant's turn opened.
class ChatTemplate
{
public:
    /// `file` is named in errors. `special_tokens`: what the template calls bos_token, eos_token, ... Throws Error
    /// naming file and line of what is malformed or not supported.
    ChatTemplate(std::string_view jinja, std::string file, std::map<std::string, std::string> special_tokens);

    /// The conversation as text. Throws Error naming file and line where the template does not take it.
    std::string apply(const std::vector<ChatMessage>& messages) const;

private:
    struct Parsed;
    std::shared_ptr<const Parsed> parsed_;
};

/// The Jinja text of a folder's template, and where it stands. In tokenizer_config.json it may be a list of named ones;
/// "default" is taken. Empty where there is none.
struct ChatTemplateSource
{
    std::filesystem::path file;
    std::string jinja;
};
ChatTemplateSource find_chat_template(const std::filesystem::path& model_folder);

} // namespace lava
