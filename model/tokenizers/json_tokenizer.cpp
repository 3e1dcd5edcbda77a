#include "model/tokenizers/json_tokenizer.h"

#include "base/error.h"
#include "model/tokenizers/added_token_list.h"
#include "model/tokenizers/bpe_model.h"
#include "model/tokenizers/folder_tokenizer.h"
#include "model/tokenizers/pre_tokenizer.h"

namespace lava {

namespace {

class JsonTokenizer : public FolderTokenizer
{
public:
    JsonTokenizer(const std::filesystem::path& folder, const JsonView& json)
        : FolderTokenizer(folder)
        , pre_tokenizer_(json.find("pre_tokenizer") ? PreTokenizer(json.at("pre_tokenizer")) : PreTokenizer())
        , model_(json.at("model"), pre_tokenizer_.byte_level())
    {
        json.require_known({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
            "post_processor", "decoder", "model"});
        decoding_.byte_level = pre_tokenizer_.byte_level();
        if (const std::optional<JsonView> decoder = json.find("decoder")) {
            decoding_ = read_decoder(*decoder);
        }
        for (const auto& [token, id] : model_.vocabulary()) {
            set_token(id, decoding_.bytes(token));
        }
        const std::optional<JsonView> normalizer = json.find("normalizer");
        added_ = AddedTokens(read_added(json), normalizer ? Normalizer(*normalizer) : Normalizer());
        const std::optional<JsonView> post = json.find("post_processor");
        special_ = post ? read_post_processor(*post) : SpecialTokens();
        if (!json.file().ends_with("tokenizer.json")) { // which has the last word, as in transformers 5.2
            special_ = special_tokens([this](const std::string& token) { return id_in_vocabulary(token); }, special_);
        }
    }

    Encoding encode(std::string_view text, bool add_special_tokens) const override
    {
        require_utf8(text);
        Encoding encoding;
        added_.split(
            text,
            [&](std::int64_t id, ByteRange range) {
                encoding.ids.push_back(id);
                encoding.ranges.push_back(range);
            },
            [&](AlignedText plain) {
                for (const AlignedText& word : pre_tokenizer_(std::move(plain))) {
                    model_.encode(word, encoding);
                }
            });
        return add_special_tokens ? surround(special_, std::move(encoding), text.size()) : encoding;
    }

private:
    /// Added tokens of tokenizer.json, and those that only tokenizer_config.json names.
    std::vector<AddedToken> read_added(const JsonView& json)
    {
        AddedTokenList list([this](const std::string& token) { return id_in_vocabulary(token); },
            std::ssize(model_.vocabulary()), json.file());
        const std::optional<JsonView> listed = json.find("added_tokens");
        for (const JsonView& entry : listed ? listed->elements() : std::vector<JsonView>()) {
            list.add(read_added_token(entry, entry.at("id").token_id()));
        }
        list.add(config_, (folder_ / "tokenizer_config.json").string());
        for (const AddedToken& token : list.tokens()) {
            set_added(token);
        }
        return list.tokens();
    }

    std::int64_t id_in_vocabulary(const std::string& token) const
    {
        const auto known = model_.vocabulary().find(token);
        return known == model_.vocabulary().end() ? -1 : known->second;
    }

    PreTokenizer pre_tokenizer_;
    BpeModel model_;
    AddedTokens added_;
    SpecialTokens special_;
};

} // namespace

std::unique_ptr<Tokenizer> make_json_tokenizer(
    const std::filesystem::path& folder, const std::filesystem::path& file, const nlohmann::json& document)
{
    return std::make_unique<JsonTokenizer>(folder, JsonView(document, file.string()));
}

} // namespace lava
