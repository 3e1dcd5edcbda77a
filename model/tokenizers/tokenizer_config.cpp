#include "model/tokenizers/tokenizer_config.h"

#include <charconv>

namespace lava {

namespace {

/// Special tokens that are not known yet: each is a string, or an object with its content.
void read_special_tokens(const JsonView& json, std::map<std::string, std::string>& result)
{
    for (const char* role :
        {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
        if (const std::optional<JsonView> token = json.find(role)) {
            result.try_emplace(role, token->value().is_object() ? token->string("content") : token->string());
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
    read_special_tokens(json, result.special_tokens);
    result.add_bos_token = read_optional(json, "add_bos_token");
    result.add_eos_token = read_optional(json, "add_eos_token");
    const std::optional<bool> add_prefix_space = read_optional(json, "add_prefix_space");
    result.add_prefix_space = add_prefix_space.value_or(false);
    result.legacy = read_optional(json, "legacy");
    if (const std::optional<JsonView> added = json.find("added_tokens_decoder")) {
        result.added_tokens = read_added_tokens_decoder(*added);
    }
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
        read_special_tokens(JsonView(document, file.string()), result.special_tokens);
    }
    return result;
}

} // namespace lava
