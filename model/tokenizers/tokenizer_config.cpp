#include "model/tokenizers/tokenizer_config.h"

#include <charconv>

namespace lava {

namespace {

/// A special token is a string, or an object with its content.
std::optional<std::string> read_token(const JsonView& json, const std::string& key)
{
    const std::optional<JsonView> token = json.find(key);
    if (!token) {
        return std::nullopt;
    }
    return token->value().is_object() ? token->string("content") : token->string();
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

} // namespace

TokenizerConfig read_tokenizer_config(const std::filesystem::path& model_folder)
{
    TokenizerConfig result;
    const std::filesystem::path file = model_folder / "tokenizer_config.json";
    if (!std::filesystem::exists(file)) {
        return result;
    }
    const nlohmann::json document = read_json(file);
    const JsonView json(document, file.string());
    if (const std::optional<JsonView> name = json.find("tokenizer_class")) {
        result.tokenizer_class = name->string();
        if (result.tokenizer_class.ends_with("Fast")) {
            result.tokenizer_class.resize(result.tokenizer_class.size() - 4);
        }
    }
    result.bos_token = read_token(json, "bos_token");
    result.eos_token = read_token(json, "eos_token");
    result.unk_token = read_token(json, "unk_token");
    result.pad_token = read_token(json, "pad_token");
    result.add_bos_token = read_optional(json, "add_bos_token");
    result.add_eos_token = read_optional(json, "add_eos_token");
    result.add_prefix_space = json.boolean("add_prefix_space", false);
    result.legacy = read_optional(json, "legacy");
    if (const std::optional<JsonView> added = json.find("added_tokens_decoder")) {
        result.added_tokens = read_added_tokens_decoder(*added);
    }
    return result;
}

} // namespace lava
