#include "model/tokenizers/added_tokens.h"

#include "model/tokenizers/pattern.h"

#include <algorithm>

namespace lava {

namespace {

std::size_t last_character(std::string_view text)
{
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) {
        --at;
    }
    return at;
}

bool is_word_character(std::string_view character)
{
    static const Pattern word(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}])", "word");
    return word.match_prefix(character) > 0;
}

/// Bytes of white space that `text` ends in.
std::size_t space_before(std::string_view text)
{
    static const Pattern space(R"(\s)", "space");
    std::size_t end = text.size();
    while (end > 0 && space.match_prefix(text.substr(last_character(text.substr(0, end)))) > 0) {
        end = last_character(text.substr(0, end));
    }
    return text.size() - end;
}

/// Bytes of white space that `text` begins with.
std::size_t space_after(std::string_view text)
{
    static const Pattern space(R"(\s+)", "space");
    return space.match_prefix(text);
}

/// A word goes on across text[begin, end).
bool inside_word(std::string_view text, std::size_t begin, std::size_t end)
{
    const std::string_view before = text.substr(0, begin);
    return (begin > 0 && is_word_character(before.substr(last_character(before))))
        || (end < text.size() && is_word_character(text.substr(end)));
}

} // namespace

AddedToken read_added_token(const JsonView& json, std::int64_t id)
{
    json.require_known({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", "__type"});
    const bool special = json.boolean("special", false);
    AddedToken token{json.string("content"), id, special, json.boolean("normalized", !special),
        json.boolean("single_word", false), json.boolean("lstrip", false), json.boolean("rstrip", false)};
    if (token.text.empty()) {
        json.refuse("content that is not empty");
    }
    return token;
}

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens)
{
    for (AddedToken& token : tokens) {
        if (!token.text.empty()) {
            tokens_[static_cast<unsigned char>(token.text.front())].push_back(std::move(token));
        }
    }
    for (auto& bucket : tokens_) {
        std::stable_sort(bucket.begin(), bucket.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
    }
}

const AddedToken* AddedTokenFinder::at(std::string_view text, std::size_t position) const
{
    for (const AddedToken& token : tokens_[static_cast<unsigned char>(text[position])]) {
        if (text.substr(position).starts_with(token.text)) {
            return &token;
        }
    }
    return nullptr;
}

std::vector<TextPart> AddedTokenFinder::find(std::string_view text) const
{
    std::vector<TextPart> parts;
    std::size_t done = 0;
    for (std::size_t position = 0; position < text.size();) {
        const AddedToken* token = at(text, position);
        if (token == nullptr) {
            ++position;
            continue;
        }
        std::size_t begin = position, end = position + token->text.size();
        position = end;
        if (token->single_word && inside_word(text, begin, end)) {
            continue;
        }
        if (token->lstrip) {
            begin -= std::min(space_before(text.substr(0, begin)), begin - std::min(begin, done));
        }
        if (token->rstrip) {
            end += space_after(text.substr(end));
        }
        if (done < begin) {
            parts.push_back({-1, done, begin});
        }
        parts.push_back({token->id, begin, end});
        done = end;
    }
    if (done < text.size()) {
        parts.push_back({-1, done, text.size()});
    }
    return parts;
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, Normalizer normalizer)
    : normalizer_(std::move(normalizer))
{
    std::vector<AddedToken> raw, normalized;
    for (AddedToken token : tokens) {
        if (token.normalized) {
            token.text = normalizer_(aligned(token.text, 0, token.text.size())).text;
        }
        (token.normalized ? normalized : raw).push_back(token);
    }
    raw_ = AddedTokenFinder(std::move(raw));
    normalized_ = AddedTokenFinder(std::move(normalized));
}

void AddedTokens::split(std::string_view text, const std::function<void(std::int64_t, ByteRange)>& added,
    const std::function<void(AlignedText)>& plain) const
{
    for (const TextPart& part : raw_.find(text)) {
        if (part.id >= 0) {
            added(part.id, {part.begin, part.end});
            continue;
        }
        const AlignedText normalized = normalizer_(aligned(text, part.begin, part.end));
        for (const TextPart& inner : normalized_.find(normalized.text)) {
            if (inner.id >= 0) {
                added(inner.id, normalized.source(inner.begin, inner.end));
            } else {
                plain(normalized.slice(inner.begin, inner.end));
            }
        }
    }
}

} // namespace lava
