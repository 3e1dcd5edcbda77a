#include "model/tokenizers/vocab_merges.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/lfs_pointer.h"
#include "model/tokenizers/tokenizer_config.h"

#include <algorithm>
#include <fstream>

namespace lava {

namespace {

using Json = nlohmann::json;

// of Qwen2 and later, as in the tokenizer.json that comes with these models
const std::string qwen2_pattern
    = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json read_merges(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        throw Error(file.string() + ": cannot be read");
    }
    Json merges = Json::array();
    std::size_t number = 0;
    for (std::string line; std::getline(stream, line);) {
        ++number;
        if (line.ends_with('\r')) {
            line.pop_back();
        }
        if (line.empty() || (number == 1 && line.starts_with("#version"))) {
            continue;
        }
        if (std::count(line.begin(), line.end(), ' ') != 1) {
            throw Error(formatted("{}: line {}: expected two tokens and a space between them, found {}", file.string(),
                number, Json(line).dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80)));
        }
        merges.push_back(line);
    }
    return merges;
}

/// The class, without "Fast"; where it is not named, that of config.json's model_type.
std::string tokenizer_class(const std::filesystem::path& folder, const TokenizerConfig& config)
{
    const std::filesystem::path file = folder / "config.json";
    if (!config.tokenizer_class.empty() || !std::filesystem::exists(file)) {
        return config.tokenizer_class;
    }
    const Json document = read_json(file);
    const std::string type = JsonView(document, file.string()).string("model_type");
    return type == "gpt2" ? "GPT2Tokenizer" : type == "qwen2" || type == "qwen3" ? "Qwen2Tokenizer" : type;
}

Json describe(const AddedToken& token)
{
    return {{"id", token.id}, {"content", token.text}, {"special", token.special}, {"normalized", token.normalized},
        {"single_word", token.single_word}, {"lstrip", token.lstrip}, {"rstrip", token.rstrip}};
}

/// Added tokens of tokenizer_config.json and of added_tokens.json, and those named as special; by id, which the library
/// follows.
Json read_added(const std::filesystem::path& folder, const TokenizerConfig& config, const Json& vocab)
{
    std::vector<AddedToken> tokens = config.added_tokens;
    const auto add = [&](const AddedToken& token) {
        const auto same = [&](const AddedToken& a) { return a.text == token.text; };
        if (std::none_of(tokens.begin(), tokens.end(), same)) {
            tokens.push_back(token);
        }
    };
    if (const auto file = folder / "added_tokens.json"; std::filesystem::exists(file)) {
        const Json document = read_json(file);
        for (const auto& [text, id] : JsonView(document, file.string()).members()) {
            add({text, id.token_id(), false, false, false, false, false});
        }
    }
    for (const auto& [role, token] : config.special_tokens) {
        if (vocab.contains(token)) {
            add({token, JsonView(vocab.at(token), "vocab.json").token_id(), true, false, false, false, false});
        }
    }
    std::sort(tokens.begin(), tokens.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
    Json result = Json::array();
    for (const AddedToken& token : tokens) {
        result.push_back(describe(token));
    }
    return result;
}

} // namespace

Json read_vocab_and_merges(const std::filesystem::path& model_folder)
{
    for (const char* name : {"vocab.json", "merges.txt"}) {
        refuse_lfs_pointer(model_folder / name); // whatever else is wrong
    }
    const TokenizerConfig config = read_tokenizer_config(model_folder);
    const std::string name = tokenizer_class(model_folder, config);
    Json pre_tokenizer = {{"type", "ByteLevel"}, {"add_prefix_space", config.add_prefix_space}, {"use_regex", true}};
    Json normalizer;
    if (name == "Qwen2Tokenizer") {
        normalizer = {{"type", "NFC"}};
        pre_tokenizer["use_regex"] = false;
        const Json split = {{"type", "Split"}, {"pattern", {{"Regex", qwen2_pattern}}}, {"behavior", "Isolated"}};
        pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", {split, pre_tokenizer}}};
    } else if (name != "GPT2Tokenizer") {
        throw Error(model_folder.string()
            + ": vocab.json and merges.txt: expected the tokenizer class GPT2Tokenizer or Qwen2Tokenizer, found '"
            + name + "', whose way of splitting text is not known; tokenizer.json would say it");
    }
    Json vocab = read_json(model_folder / "vocab.json");
    JsonView(vocab, (model_folder / "vocab.json").string()).members(); // an object
    return {{"added_tokens", read_added(model_folder, config, vocab)}, {"normalizer", normalizer},
        {"pre_tokenizer", pre_tokenizer}, {"post_processor", {{"type", "ByteLevel"}}},
        {"decoder", {{"type", "ByteLevel"}}},
        {"model",
            {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", read_merges(model_folder / "merges.txt")}}}};
}

} // namespace lava
