#include "model/tokenizers/folder_tokenizer.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>

namespace lava {

namespace {

/// Only a conversation needs a template, plain text does not: why there is none, or none that can be used, is told when
/// one is asked for.
FolderTemplate read_chat_template(const std::filesystem::path& folder, const TokenizerConfig& config)
{
    FolderTemplate result;
    try {
        const ChatTemplateSource source = find_chat_template(folder);
        result.given = !source.jinja.empty();
        if (result.given) {
            result.usable.emplace(source.jinja, source.file.string(), config.special_tokens);
        } else {
            result.refusal = folder.string() + ": the model has no chat template";
        }
    } catch (const Error& error) {
        result.given = true;
        result.refusal = error.what();
    }
    return result;
}

} // namespace

FolderTokenizer::FolderTokenizer(const std::filesystem::path& folder)
    : folder_(folder)
    , config_(read_tokenizer_config(folder))
    , template_(read_chat_template(folder, config_))
{ }

std::string FolderTokenizer::token_bytes(std::int64_t id) const
{
    if (id < 0 || id >= vocab_size()) {
        throw Error(formatted("token id {} is not in the vocabulary of {} tokens", id, vocab_size()));
    }
    return tokens_[static_cast<std::size_t>(id)];
}

std::string FolderTokenizer::decode(const std::vector<std::int64_t>& ids) const
{
    std::string text;
    bool first = true;
    for (const std::int64_t id : ids) {
        if (special_.contains(id)) {
            continue;
        }
        std::string bytes = token_bytes(id);
        if (first && decoding_.first_token_without_spaces) {
            std::erase(bytes, ' ');
        }
        text += bytes;
        first = false;
    }
    const std::size_t spaces = std::min(text.find_first_not_of(' '), text.size());
    return text.substr(std::min(spaces, decoding_.leading_spaces));
}

std::string FolderTokenizer::apply_chat_template(const std::vector<ChatMessage>& messages) const
{
    if (!template_.usable) {
        throw Error(template_.refusal);
    }
    return template_.usable->apply(messages);
}

void FolderTokenizer::set_token(std::int64_t id, const std::string& bytes)
{
    if (std::ssize(tokens_) <= id) {
        tokens_.resize(static_cast<std::size_t>(id) + 1);
    }
    tokens_[static_cast<std::size_t>(id)] = bytes;
}

void FolderTokenizer::set_added(const AddedToken& token)
{
    set_token(token.id, token.text);
    if (token.given) {
        added_ids_[token.text] = token.id;
    }
    if (token.special) {
        special_.insert(token.id);
    }
}

Encoding FolderTokenizer::surround(const SpecialTokens& special, Encoding encoding, std::size_t size)
{
    encoding.ids.insert(encoding.ids.begin(), special.before.begin(), special.before.end());
    encoding.ranges.insert(encoding.ranges.begin(), special.before.size(), ByteRange{0, 0});
    encoding.ids.insert(encoding.ids.end(), special.after.begin(), special.after.end());
    encoding.ranges.insert(encoding.ranges.end(), special.after.size(), ByteRange{size, size});
    return encoding;
}

SpecialTokens FolderTokenizer::special_tokens(
    const std::function<std::int64_t(const std::string&)>& id_of, SpecialTokens otherwise) const
{
    const auto required = [&](const char* key) {
        const std::optional<std::string> token = config_.special_token(key);
        const auto added = token ? added_ids_.find(*token) : added_ids_.end();
        const std::int64_t id = added != added_ids_.end() ? added->second : token ? id_of(*token) : -1;
        if (id < 0) {
            throw Error((folder_ / "tokenizer_config.json").string() + ": " + key + " is asked for, but "
                + (token ? "'" + *token + "' is not in the vocabulary" : "not named"));
        }
        return id;
    };
    if (config_.add_bos_token == false) {
        otherwise.before.clear();
    } else if (config_.add_bos_token && (config_.special_token("bos_token") || otherwise.before.empty())) {
        otherwise.before = {required("bos_token")};
    }
    if (config_.add_eos_token) {
        otherwise.after = *config_.add_eos_token ? std::vector{required("eos_token")} : std::vector<std::int64_t>();
    }
    return otherwise;
}

} // namespace lava
