#include "model/tokenizers/added_token_list.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>

namespace lava {

AddedTokenList::AddedTokenList(
    std::function<std::int64_t(const std::string&)> id_of, std::int64_t vocab_size, std::string file)
    : id_of_(std::move(id_of))
    , next_id_(vocab_size)
    , file_(std::move(file))
{ }

AddedToken* AddedTokenList::find(const std::string& text)
{
    const auto place = places_.find(text);
    return place == places_.end() ? nullptr : &tokens_[place->second];
}

void AddedTokenList::add(AddedToken token)
{
    AddedToken* known = find(token.text);
    const std::int64_t own = id_of_(token.text);
    const std::int64_t id = known != nullptr ? known->id : own >= 0 ? own : next_id_;
    if (token.id >= 0 && token.id != id) {
        const std::string reason = known != nullptr ? "one id, "
            : own >= 0                              ? "its id of the vocab, "
                                                    : "the next free id, as the tokenizers library gives it, ";
        throw Error(formatted(
            "{}: expected the added token '{}' to have {}{}, not {}", file_, token.text, reason, id, token.id));
    }
    token.given = token.id >= 0 || own >= 0 || (known != nullptr && known->given);
    token.id = id;
    next_id_ = std::max(next_id_, id + 1);
    if (known == nullptr) {
        places_.emplace(token.text, tokens_.size());
        tokens_.push_back(std::move(token));
    } else {
        token.special = token.special || known->special;
        *known = std::move(token);
    }
}

void AddedTokenList::add(const TokenizerConfig& config, const std::string& file)
{
    file_ = file;
    for (AddedToken token : config.added_tokens) {
        if (const AddedToken* known = find(token.text)) {
            token.id = known->id;
        }
        add(std::move(token));
    }
    add_new(config.named);
    require_order(config.model_specific);
    add_new(config.model_specific);
    add_new(config.extra);
}

void AddedTokenList::add_new(const std::vector<AddedToken>& tokens)
{
    for (const AddedToken& token : tokens) {
        if (find(token.text) == nullptr) {
            add(token);
        }
    }
}

/// An object's members have lost the order in which the library would give them their ids.
void AddedTokenList::require_order(const std::vector<AddedToken>& tokens)
{
    const AddedToken* first = nullptr;
    for (const AddedToken& token : tokens) {
        if (find(token.text) != nullptr || id_of_(token.text) >= 0) {
            continue;
        }
        if (first != nullptr && first->text != token.text) {
            throw Error(file_ + ": expected at most one model-specific special token without an id, found '"
                + first->text + "' and '" + token.text
                + "' of tokenizer_config.json; added_tokens_decoder would say them");
        }
        first = &token;
    }
}

} // namespace lava
