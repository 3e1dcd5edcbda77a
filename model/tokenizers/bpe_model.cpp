#include "model/tokenizers/bpe_model.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/tokenizers/byte_level.h"

#include <cstdio>
#include <optional>

namespace lava {

namespace {

std::uint64_t pair_key(std::int64_t left, std::int64_t right)
{
    return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint64_t>(right);
}

/// "<0x0A>", as models with byte fallback spell a byte.
std::string byte_token(unsigned byte)
{
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "<0x%02X>", byte);
    return text.data();
}

std::size_t character_end(std::string_view text, std::size_t at)
{
    for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;) {
        ++at;
    }
    return at;
}

std::pair<std::string, std::string> pair_of(const JsonView& json)
{
    const nlohmann::json& entry = json.value();
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
        return {entry[0].get<std::string>(), entry[1].get<std::string>()};
    }
    const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
    const std::size_t gap = text.find(' ');
    if (gap == std::string::npos || text.find(' ', gap + 1) != std::string::npos) {
        json.refuse("\"left right\" or [left, right]");
    }
    return {text.substr(0, gap), text.substr(gap + 1)};
}

/// `key` must be absent, null, or `value`.
void require(const JsonView& json, const std::string& key, const nlohmann::json& value)
{
    if (const std::optional<JsonView> found = json.find(key); found && found->value() != value) {
        found->refuse("null or " + value.dump());
    }
}

} // namespace

BpeModel::BpeModel(const JsonView& json, bool byte_level)
    : byte_level_(byte_level)
{
    json.require_known({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
        "byte_fallback", "ignore_merges", "vocab", "merges"});
    // files of older versions of the tokenizers library do not name the type
    if (const std::optional<JsonView> type = json.find("type"); type && type->string() != "BPE") {
        type->refuse("\"BPE\"");
    }
    require(json, "dropout", 0.0);
    require(json, "continuing_subword_prefix", "");
    require(json, "end_of_word_suffix", "");
    byte_fallback_ = json.boolean("byte_fallback", false);
    fuse_unknown_ = json.boolean("fuse_unk", false);
    ignore_merges_ = json.boolean("ignore_merges", false);
    read_vocabulary(json.at("vocab"));
    read_merges(json.at("merges"));
    if (const std::optional<JsonView> unknown = json.find("unk_token")) {
        // one that is not in the vocabulary is missed when a text needs it: in bytes none does
        const auto found = ids_.find(unknown->string());
        unknown_ = found == ids_.end() ? -1 : found->second;
    }
}

void BpeModel::read_vocabulary(const JsonView& json)
{
    for (const auto& [text, id] : json.members()) {
        ids_[text] = id.token_id();
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
        const auto found = ids_.find(byte_level_ ? stand_in(static_cast<unsigned char>(byte)) : byte_token(byte));
        byte_ids_[byte] = found == ids_.end() ? -1 : found->second;
    }
}

void BpeModel::read_merges(const JsonView& json)
{
    std::int64_t rank = 0;
    for (const JsonView& entry : json.elements()) {
        const auto [left, right] = pair_of(entry);
        const auto left_id = ids_.find(left), right_id = ids_.find(right), id = ids_.find(left + right);
        if (left_id == ids_.end() || right_id == ids_.end() || id == ids_.end()) {
            entry.refuse("a pair whose parts and union are in the vocab");
        }
        // of a pair that is there twice, the last counts
        merges_[pair_key(left_id->second, right_id->second)] = {static_cast<double>(rank++), id->second};
    }
}

std::int64_t BpeModel::whole(const std::string& word) const
{
    std::string printable;
    for (const char c : byte_level_ ? word : std::string()) {
        printable += stand_in(static_cast<unsigned char>(c));
    }
    const auto found = ids_.find(byte_level_ ? printable : word);
    return found == ids_.end() ? -1 : found->second;
}

std::vector<Symbol> BpeModel::byte_symbols(const AlignedText& word) const
{
    std::vector<Symbol> symbols;
    for (std::size_t i = 0; i < word.text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(word.text[i]);
        if (byte_ids_[byte] < 0) {
            throw Error(formatted(
                "the tokenizer has no token for byte {} at byte {} of the text", byte, word.sources[i].begin));
        }
        symbols.push_back({byte_ids_[byte], i, i + 1});
    }
    return symbols;
}

bool BpeModel::fall_back(
    const std::string& text, std::size_t begin, std::size_t end, std::vector<Symbol>& symbols) const
{
    for (std::size_t i = begin; i < end; ++i) {
        if (!byte_fallback_ || byte_ids_[static_cast<unsigned char>(text[i])] < 0) {
            return false;
        }
    }
    for (std::size_t i = begin; i < end; ++i) {
        symbols.push_back({byte_ids_[static_cast<unsigned char>(text[i])], i, i + 1});
    }
    return true;
}

std::vector<Symbol> BpeModel::character_symbols(const AlignedText& word) const
{
    std::vector<Symbol> symbols;
    bool fuse = false;
    for (std::size_t at = 0; at < word.text.size();) {
        const std::size_t end = character_end(word.text, at);
        const auto found = ids_.find(word.text.substr(at, end - at));
        const bool known = found != ids_.end();
        if (known) {
            symbols.push_back({found->second, at, end});
        } else if (!fall_back(word.text, at, end, symbols)) {
            if (unknown_ < 0) {
                throw Error(formatted("the tokenizer has no token for the character '{}' at byte {} of the text",
                    word.text.substr(at, end - at), word.sources[at].begin));
            }
            if (fuse && fuse_unknown_) {
                symbols.back().end = end;
            } else {
                symbols.push_back({unknown_, at, end});
            }
            fuse = true;
            at = end;
            continue;
        }
        fuse = false;
        at = end;
    }
    return symbols;
}

void BpeModel::encode(const AlignedText& word, Encoding& encoding) const
{
    const auto lookup = [this](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
        const auto found = merges_.find(pair_key(left.id, right.id));
        return found == merges_.end() ? std::nullopt : std::optional(found->second);
    };
    const std::int64_t token = ignore_merges_ ? whole(word.text) : -1;
    const std::vector<Symbol> symbols = token >= 0
        ? std::vector<Symbol>{{token, 0, word.text.size()}}
        : merge_symbols(byte_level_ ? byte_symbols(word) : character_symbols(word), lookup);
    for (const Symbol& symbol : symbols) {
        encoding.ids.push_back(symbol.id);
        encoding.ranges.push_back(word.source(symbol.begin, symbol.end));
    }
}

} // namespace lava
