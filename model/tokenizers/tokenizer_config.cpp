#include "model/tokenizers/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace lava {

namespace {

constexpr std::array<std::string_view, 7> roles{
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/// A string, or an object with its content and flags.
AddedToken read_special_token(const JsonView& json)
{
    if (!json.value().is_object()) {
        return {json.string(), -1, true, false, false, false, false};
    }
    AddedToken token = read_added_token(json, -1);
    token.special = true;
    return token;
}

void read_extra(const JsonView& json, TokenizerConfig& result)
{
    if (json.value().is_object()) {
        for (const auto& [name, token] : json.members()) {
            result.model_specific.push_back(read_special_token(token));
        }
        return;
    }
    for (const JsonView& token : json.elements()) {
        result.extra.push_back(read_special_token(token));
    }
}

/// Roles that are not known yet.
void read_special_tokens(const JsonView& json, TokenizerConfig& result)
{
    for (const std::string_view name : roles) {
        const std::string role(name);
        const std::optional<JsonView> token = json.find(role);
        if (!token || result.special_tokens.contains(role)) {
            continue;
        }
        const std::string text = token->value().is_object() ? token->string("content") : token->string();
        result.special_tokens.emplace(role, text);
        if (!text.empty()) {
            result.named.push_back(read_special_token(*token));
        }
    }
}

std::optional<bool> read_optional(const JsonView& json, const std::string& key)
{
    const std::optional<JsonView> value = json.find(key);
    return value ? std::optional(value->boolean()) : std::nullopt;
}

std::vector<AddedToken> read_added_tokens_decoder(const JsonView& json)
{
    std::vector<AddedToken> result;
    for (const auto& [key, token] : json.members()) {
        std::int64_t id = -1;
        const char* end = key.data() + key.size();
        if (std::from_chars(key.data(), end, id).ptr != end || id < 0 || id >= 1 << 24) {
            token.refuse("a token id as the key");
        }
        result.push_back(read_added_token(token, id));
    }
    std::sort(result.begin(), result.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
    return result;
}

void read_config(const JsonView& json, TokenizerConfig& result)
{
    if (const std::optional<JsonView> name = json.find("tokenizer_class")) {
        result.tokenizer_class = name->string();
        if (result.tokenizer_class.ends_with("Fast")) {
            result.tokenizer_class.resize(result.tokenizer_class.size() - 4);
        }
    }
    read_special_tokens(json, result);
    for (const auto& [key, value] : json.members()) {
        const bool named = std::find(roles.begin(), roles.end(), key) != roles.end();
        if (!named && key.ends_with("_token") && value.value().is_string() && value.value() != "") {
            result.model_specific.push_back(read_special_token(value));
        }
    }
    // an extra_special_tokens that is null replaces the older key too
    const char* extra
        = json.value().contains("extra_special_tokens") ? "extra_special_tokens" : "additional_special_tokens";
    if (const std::optional<JsonView> tokens = json.find(extra)) {
        read_extra(*tokens, result);
    }
    if (json.boolean("split_special_tokens", false)) {
        json.at("split_special_tokens").refuse("false");
    }
    result.add_bos_token = read_optional(json, "add_bos_token");
    result.add_eos_token = read_optional(json, "add_eos_token");
    const std::optional<bool> add_prefix_space = read_optional(json, "add_prefix_space");
    result.add_prefix_space = add_prefix_space.value_or(false);
    result.legacy = read_optional(json, "legacy");
    if (const std::optional<JsonView> added = json.find("added_tokens_decoder")) {
        result.added_tokens = read_added_tokens_decoder(*added);
    }
}

/// The named tokens of two files.
std::vector<AddedToken> in_order_of_roles(const TokenizerConfig& config)
{
    std::vector<AddedToken> result;
    for (const std::string_view role : roles) {
        const std::optional<std::string> text = config.special_token(std::string(role));
        const auto token = std::find_if(config.named.begin(), config.named.end(),
            [&](const AddedToken& candidate) { return candidate.text == text; });
        if (token != config.named.end()) {
            result.push_back(*token);
        }
    }
    return result;
}

} // namespace

std::optional<std::string> TokenizerConfig::special_token(const std::string& role) const
{
    const auto found = special_tokens.find(role);
    return found == special_tokens.end() ? std::nullopt : std::optional(found->second);
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& model_folder)
{
    TokenizerConfig result;
    if (const auto file = model_folder / "tokenizer_config.json"; std::filesystem::exists(file)) {
        const nlohmann::json document = read_json(file);
        read_config(JsonView(document, file.string()), result);
    }
    if (const auto file = model_folder / "special_tokens_map.json"; std::filesystem::exists(file)) {
        const nlohmann::json document = read_json(file);
        const JsonView json(document, file.string());
        TokenizerConfig further = result;
        read_special_tokens(json, further);
        result.special_tokens = further.special_tokens;
        if (result.added_tokens.empty()) { // which says all of them, as in transformers 5.2
            result.named = in_order_of_roles(further);
            if (const auto extra = json.find("additional_special_tokens"); extra && result.extra.empty()) {
                read_extra(*extra, result);
            }
        }
    }
    return result;
}

} // namespace lava
