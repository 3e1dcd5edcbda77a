#include "model/tokenizer_bpe.h"

#include "model/chat_template.h"
#include "model/tokenizer_merge.h"
#include "model/tokenizer_split.h"
#include "traces/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <set>
#include <unordered_map>

namespace lava {

namespace {

using Json = nlohmann::json;

struct AddedToken
{
    std::string text;
    std::int64_t id = 0;
    bool special = false;
};

/// What tokenizer.json says, in bytes and ids.
struct BpeVocabulary
{
    std::vector<std::string> tokens; ///< bytes by id; empty for an id that is not used
    std::array<std::int64_t, 256> byte_ids{}; ///< -1 where the vocabulary lacks the byte
    std::unordered_map<std::uint64_t, Merge> merges; ///< by pair_key
    std::vector<AddedToken> added; ///< longest first
    std::set<std::int64_t> special;
    DigitSplit digits = DigitSplit::none;
};

std::uint64_t pair_key(std::int64_t left, std::int64_t right)
{
    return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint64_t>(right);
}

/// GPT-2's printable stand-ins: bytes that are visible Latin-1 characters stand for themselves, the others follow
/// from U+0100 on.
std::unordered_map<std::string, unsigned char> byte_of_character()
{
    std::unordered_map<std::string, unsigned char> result;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        const unsigned code = visible ? byte : next++;
        const std::string character = code < 0x80
            ? std::string(1, static_cast<char>(code))
            : std::string{static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
        result[character] = static_cast<unsigned char>(byte);
    }
    return result;
}

/// Reads tokenizer.json and refuses by name what this tokenizer does not do.
class BpeReader
{
public:
    explicit BpeReader(std::filesystem::path file)
        : file_(std::move(file))
        , stand_ins_(byte_of_character())
    { }

    BpeVocabulary read()
    {
        const Json json = parse();
        check_kind(json);
        BpeVocabulary result;
        read_tokens(json.at("model").at("vocab"), result);
        read_added(json, result);
        read_merges(json.at("model").at("merges"), result);
        result.digits = read_digits(json.at("pre_tokenizer"));
        return result;
    }

private:
    Json parse() const
    {
        std::ifstream stream(file_, std::ios::binary);
        if (!stream) {
            throw Error(file_.string() + ": cannot be read");
        }
        try {
            return Json::parse(stream);
        } catch (const Json::exception& error) {
            throw Error(file_.string() + ": not JSON: " + error.what());
        }
    }

    [[noreturn]] void refuse(const std::string& key, const std::string& expected, const Json& found) const
    {
        throw Error(file_.string() + ": " + key + ": expected " + expected + ", found " + found.dump().substr(0, 80));
    }

    /// `key` must be absent, null or one of `accepted`.
    void accept(const Json& parent, const std::string& path, const std::string& key, const Json& accepted) const
    {
        const Json value = parent.contains(key) ? parent.at(key) : Json();
        if (!value.is_null() && std::find(accepted.begin(), accepted.end(), value) == accepted.end()) {
            refuse(path + key, "null or one of " + accepted.dump(), value);
        }
    }

    static std::string type_of(const Json& value)
    {
        return value.is_object() && value.contains("type") && value.at("type").is_string()
            ? value.at("type").get<std::string>()
            : std::string();
    }

    void check_kind(const Json& json) const
    {
        const Json model = json.is_object() && json.contains("model") ? json.at("model") : Json();
        // files of older versions of the tokenizers library do not name the type
        const bool bpe = model.is_object() && (type_of(model) == "BPE" || !model.contains("type"));
        if (!bpe || !model.contains("vocab") || !model.contains("merges") || !json.contains("pre_tokenizer")) {
            refuse("model", "type BPE with vocab and merges, and a pre_tokenizer", Json(type_of(model)));
        }
        accept(model, "model.", "dropout", Json::array({0.0}));
        accept(model, "model.", "continuing_subword_prefix", Json::array({""}));
        accept(model, "model.", "end_of_word_suffix", Json::array({""}));
        accept(model, "model.", "byte_fallback", Json::array({false}));
        accept(model, "model.", "ignore_merges", Json::array({false}));
        accept(json, "", "normalizer", Json::array());
        for (const char* key : {"post_processor", "decoder"}) {
            if (json.contains(key) && !json.at(key).is_null() && type_of(json.at(key)) != "ByteLevel") {
                refuse(key, "null or ByteLevel", json.at(key));
            }
        }
    }

    std::int64_t id_of(const Json& value, const std::string& key) const
    {
        // ids index tables: one absurd id must not allocate all memory
        constexpr std::int64_t most = 1 << 24;
        if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() >= most) {
            refuse(key, "a token id below " + std::to_string(most), value);
        }
        return value.get<std::int64_t>();
    }

    void set_token(BpeVocabulary& vocabulary, std::int64_t id, const std::string& bytes) const
    {
        if (std::ssize(vocabulary.tokens) <= id) {
            vocabulary.tokens.resize(static_cast<std::size_t>(id) + 1);
        }
        vocabulary.tokens[static_cast<std::size_t>(id)] = bytes;
    }

    void read_tokens(const Json& vocab, BpeVocabulary& result)
    {
        if (!vocab.is_object()) {
            refuse("model.vocab", "an object of tokens and ids", vocab);
        }
        result.byte_ids.fill(-1);
        for (const auto& [text, value] : vocab.items()) {
            const std::int64_t id = id_of(value, "model.vocab[" + text + "]");
            const std::string bytes = bytes_of(text);
            set_token(result, id, bytes);
            ids_[text] = id;
            if (bytes.size() == 1) {
                result.byte_ids[static_cast<unsigned char>(bytes.front())] = id;
            }
        }
    }

    /// Bytes that a token's printable form stands for; a form with any other character stands for itself.
    std::string bytes_of(const std::string& text) const
    {
        std::string bytes;
        for (std::size_t i = 0; i < text.size();) {
            const std::size_t length = static_cast<unsigned char>(text[i]) < 0x80 ? 1 : 2;
            const auto found = stand_ins_.find(text.substr(i, length));
            if (found == stand_ins_.end()) {
                return text;
            }
            bytes += static_cast<char>(found->second);
            i += length;
        }
        return bytes;
    }

    void read_added(const Json& json, BpeVocabulary& result) const
    {
        for (const Json& entry : json.value("added_tokens", Json::array())) {
            if (!entry.is_object() || !entry.contains("content") || !entry.at("content").is_string()
                || entry.at("content").get<std::string>().empty() || !entry.contains("id")) {
                refuse("added_tokens", "objects with content and id", entry);
            }
            for (const char* key : {"single_word", "lstrip", "rstrip"}) {
                accept(entry, "added_tokens.", key, Json::array({false}));
            }
            const AddedToken token{entry.at("content").get<std::string>(), id_of(entry.at("id"), "added_tokens.id"),
                entry.value("special", false)};
            set_token(result, token.id, token.text);
            result.added.push_back(token);
            if (token.special) {
                result.special.insert(token.id);
            }
        }
        std::stable_sort(result.added.begin(), result.added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
    }

    void read_merges(const Json& merges, BpeVocabulary& result) const
    {
        if (!merges.is_array()) {
            refuse("model.merges", "a list of pairs", merges);
        }
        std::int64_t rank = 0;
        for (const Json& entry : merges) {
            const auto [left, right] = pair_of(entry);
            const auto left_id = ids_.find(left), right_id = ids_.find(right), id = ids_.find(left + right);
            if (left_id == ids_.end() || right_id == ids_.end() || id == ids_.end()) {
                refuse("model.merges[" + std::to_string(rank) + "]", "a pair whose parts and union are in the vocab",
                    entry);
            }
            result.merges.try_emplace(
                pair_key(left_id->second, right_id->second), Merge{static_cast<double>(rank), id->second});
            ++rank;
        }
    }

    std::pair<std::string, std::string> pair_of(const Json& entry) const
    {
        if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
            return {entry[0].get<std::string>(), entry[1].get<std::string>()};
        }
        const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
        const std::size_t gap = text.find(' ');
        if (gap == std::string::npos || text.find(' ', gap + 1) != std::string::npos) {
            refuse("model.merges", "\"left right\" or [left, right]", entry);
        }
        return {text.substr(0, gap), text.substr(gap + 1)};
    }

    /// Digits and then ByteLevel, or ByteLevel alone.
    DigitSplit read_digits(const Json& pre_tokenizer) const
    {
        DigitSplit digits = DigitSplit::none;
        Json steps = Json::array({pre_tokenizer});
        if (type_of(pre_tokenizer) == "Sequence") {
            steps = pre_tokenizer.value("pretokenizers", Json::array());
        }
        if (steps.size() == 2 && type_of(steps[0]) == "Digits") {
            digits = steps[0].value("individual_digits", false) ? DigitSplit::individual : DigitSplit::runs;
            steps.erase(0);
        }
        if (steps.size() != 1 || type_of(steps[0]) != "ByteLevel" || steps[0].value("add_prefix_space", true)
            || !steps[0].value("use_regex", true)) {
            refuse("pre_tokenizer", "Digits (or nothing) and ByteLevel without prefix space, with its regex",
                pre_tokenizer);
        }
        return digits;
    }

    std::filesystem::path file_;
    std::unordered_map<std::string, unsigned char> stand_ins_;
    std::unordered_map<std::string, std::int64_t> ids_; ///< by printable form
};

/// The Jinja text of the folder's chat template: chat_template.jinja, or in tokenizer_config.json; empty: none.
std::optional<ChatTemplate> read_chat_template(const std::filesystem::path& folder, std::string& refusal)
{
    std::filesystem::path file = folder / "chat_template.jinja";
    std::string jinja;
    if (std::ifstream stream(file, std::ios::binary); stream) {
        jinja.assign(std::istreambuf_iterator<char>(stream), {});
    } else {
        file = folder / "tokenizer_config.json";
        const Json config = Json::parse(std::ifstream(file, std::ios::binary), nullptr, false);
        if (!config.is_object() || !config.contains("chat_template") || !config.at("chat_template").is_string()) {
            refusal = folder.string() + ": the model has no chat template";
            return std::nullopt;
        }
        jinja = config.at("chat_template").get<std::string>();
    }
    try {
        return parse_chat_template(jinja, file.string());
    } catch (const Error& error) {
        refusal = error.what(); // only a conversation needs the template, plain text does not
        return std::nullopt;
    }
}

class BpeTokenizer : public Tokenizer
{
public:
    BpeTokenizer(const std::filesystem::path& folder, BpeVocabulary vocabulary)
        : vocabulary_(std::move(vocabulary))
        , splitter_(vocabulary_.digits)
        , template_(read_chat_template(folder, template_refusal_))
    { }

    Encoding encode(std::string_view text, bool add_special_tokens) const override
    {
        (void)add_special_tokens; // a ByteLevel post-processor adds none, and others were refused
        require_utf8(text);
        Encoding encoding;
        std::size_t plain = 0;
        for (std::size_t at = 0; at < text.size();) {
            const AddedToken* added = added_at(text, at);
            if (added == nullptr) {
                ++at;
                continue;
            }
            encode_plain(text, plain, at, encoding);
            encoding.ids.push_back(added->id);
            encoding.ranges.push_back({at, at + added->text.size()});
            at += added->text.size();
            plain = at;
        }
        encode_plain(text, plain, text.size(), encoding);
        return encoding;
    }

    std::string token_bytes(std::int64_t id) const override
    {
        if (id < 0 || id >= vocab_size()) {
            throw Error("token id " + std::to_string(id) + " is not in the vocabulary of "
                + std::to_string(vocab_size()) + " tokens");
        }
        return vocabulary_.tokens[static_cast<std::size_t>(id)];
    }

    std::string decode(const std::vector<std::int64_t>& ids) const override
    {
        std::string text;
        for (const std::int64_t id : ids) {
            text += vocabulary_.special.contains(id) ? std::string() : token_bytes(id);
        }
        return text;
    }

    std::int64_t vocab_size() const override { return std::ssize(vocabulary_.tokens); }

    std::string apply_chat_template(const std::vector<ChatMessage>& messages) const override
    {
        if (!template_) {
            throw Error(template_refusal_);
        }
        return template_->apply(messages);
    }

private:
    const AddedToken* added_at(std::string_view text, std::size_t at) const
    {
        // longest first, so the first that fits is the longest
        for (const AddedToken& token : vocabulary_.added) {
            if (text.substr(at).starts_with(token.text)) {
                return &token;
            }
        }
        return nullptr;
    }

    void encode_plain(std::string_view text, std::size_t begin, std::size_t end, Encoding& encoding) const
    {
        for (const ByteRange& word : splitter_.split(text.substr(begin, end - begin))) {
            encode_word(text, {begin + word.begin, begin + word.end}, encoding);
        }
    }

    void encode_word(std::string_view text, ByteRange word, Encoding& encoding) const
    {
        std::vector<Symbol> symbols;
        for (std::size_t i = word.begin; i < word.end; ++i) {
            const auto byte = static_cast<unsigned char>(text[i]);
            if (vocabulary_.byte_ids[byte] < 0) {
                throw Error("the tokenizer has no token for byte " + std::to_string(byte) + " at byte "
                    + std::to_string(i) + " of the text");
            }
            symbols.push_back({vocabulary_.byte_ids[byte], i, i + 1});
        }
        const auto lookup = [this](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
            const auto found = vocabulary_.merges.find(pair_key(left.id, right.id));
            return found == vocabulary_.merges.end() ? std::nullopt : std::optional(found->second);
        };
        for (const Symbol& symbol : merge_symbols(std::move(symbols), lookup)) {
            encoding.ids.push_back(symbol.id);
            encoding.ranges.push_back({symbol.begin, symbol.end});
        }
    }

    BpeVocabulary vocabulary_;
    WordSplitter splitter_;
    std::string template_refusal_; ///< why there is no template; set by template_'s initialiser, so before it
    std::optional<ChatTemplate> template_;
};

} // namespace

std::unique_ptr<Tokenizer> read_bpe_tokenizer(const std::filesystem::path& model_folder)
{
    return std::make_unique<BpeTokenizer>(model_folder, BpeReader(model_folder / "tokenizer.json").read());
}

} // namespace lava
