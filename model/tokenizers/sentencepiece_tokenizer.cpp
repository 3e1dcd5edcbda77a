#include "model/tokenizers/sentencepiece_tokenizer.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/lfs_pointer.h"
#include "model/tokenizers/added_token_list.h"
#include "model/tokenizers/folder_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace lava {

namespace {

using sentencepiece::ImmutableSentencePieceText;
using sentencepiece::SentencePieceProcessor;

void load(SentencePieceProcessor& processor, const std::string& model, const std::filesystem::path& file)
{
    const auto status = processor.LoadFromSerializedProto(model);
    if (!status.ok()) {
        throw Error(file.string() + ": not a SentencePiece model: " + status.ToString());
    }
}

/// added_tokens.json: {"<pad>": 32000}
std::vector<AddedToken> read_added_tokens(const std::filesystem::path& file)
{
    std::vector<AddedToken> result;
    if (std::filesystem::exists(file)) {
        const nlohmann::json document = read_json(file);
        for (const auto& [text, id] : JsonView(document, file.string()).members()) {
            result.push_back({text, id.token_id(), false, false, false, false, false});
        }
    }
    return result;
}

class SentencePieceTokenizer : public FolderTokenizer
{
public:
    explicit SentencePieceTokenizer(const std::filesystem::path& folder)
        : FolderTokenizer(folder)
    {
        const std::filesystem::path file = folder / "tokenizer.model";
        refuse_lfs_pointer(file);
        std::ifstream stream(file, std::ios::binary);
        std::string model{std::istreambuf_iterator<char>(stream), {}};
        load(first_, model, file);
        // a protobuf message that comes twice is merged: normalizer_spec { add_dummy_prefix: false }
        load(further_, model + std::string("\x1a\x02\x18\x00", 4), file);
        decoding_.byte_fallback = true;
        decoding_.replacements = {{"\u2581", " "}};
        decoding_.leading_spaces = 1;
        for (int id = 0; id < first_.GetPieceSize(); ++id) {
            const std::string& piece = first_.IdToPiece(id);
            set_token(id, first_.IsByte(id) || !first_.IsControl(id) ? decoding_.bytes(piece) : piece);
        }
        added_ = AddedTokens(read_added(), Normalizer());
        const std::int64_t bos = first_.bos_id();
        special_ = special_tokens([this](const std::string& token) { return id_in_vocabulary(token); },
            bos < 0 ? SpecialTokens() : SpecialTokens{{bos}, {}});
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
            [&](const AlignedText& plain) { encode_plain(plain, encoding); });
        return add_special_tokens ? surround(special_, std::move(encoding), text.size()) : encoding;
    }

private:
    /// Control pieces ("<s>") are not found in text by the library itself.
    std::vector<AddedToken> read_added()
    {
        AddedTokenList list([this](const std::string& token) { return id_in_vocabulary(token); }, first_.GetPieceSize(),
            folder_.string());
        for (int id = 0; id < first_.GetPieceSize(); ++id) {
            if (first_.IsControl(id) || first_.IsUnknown(id)) {
                list.add({first_.IdToPiece(id), id, true, false, false, false, false});
            }
        }
        std::vector<AddedToken> further = read_added_tokens(folder_ / "added_tokens.json");
        const auto& decoder = config_.added_tokens;
        std::erase_if(further, [&](const AddedToken& token) {
            return std::any_of(
                decoder.begin(), decoder.end(), [&](const auto& other) { return other.text == token.text; });
        });
        further.insert(further.end(), decoder.begin(), decoder.end());
        std::sort(further.begin(), further.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
        for (const AddedToken& token : further) {
            require_own_piece(token);
            list.add(token);
        }
        list.add(config_, (folder_ / "tokenizer_config.json").string());
        for (const AddedToken& token : list.tokens()) {
            set_added(token);
        }
        return list.tokens();
    }

    void require_own_piece(const AddedToken& token) const
    {
        if (token.id < first_.GetPieceSize() && first_.IdToPiece(static_cast<int>(token.id)) != token.text) {
            throw Error(formatted("{}: the added token '{}' has the id {}, which is '{}' in tokenizer.model",
                folder_.string(), token.text, token.id, first_.IdToPiece(static_cast<int>(token.id))));
        }
    }

    std::int64_t id_in_vocabulary(const std::string& token) const
    {
        const int id = first_.PieceToId(token);
        return first_.IdToPiece(id) == token ? id : -1;
    }

    void encode_plain(const AlignedText& plain, Encoding& encoding) const
    {
        const bool prefix = config_.legacy.value_or(false) || plain.sources.front().begin == 0;
        ImmutableSentencePieceText pieces;
        const auto status = (prefix ? first_ : further_).Encode(plain.text, pieces.mutable_proto());
        if (!status.ok()) {
            throw Error(
                formatted("a text of {} bytes could not be tokenized: {}", plain.text.size(), status.ToString()));
        }
        const std::size_t base = plain.sources.front().begin;
        // bytes so far of a character that is spelled in bytes, of which all but the last have an empty range
        std::size_t byte = 0;
        for (std::size_t i = 0; i < pieces.pieces_size(); ++i) {
            const auto piece = pieces.pieces(static_cast<int>(i));
            ByteRange range{base + piece.begin(), base + piece.end()};
            if (first_.IsByte(static_cast<int>(piece.id()))) {
                const bool last = piece.begin() < piece.end();
                range = {range.begin + byte, last ? std::max(range.end, range.begin + byte) : range.begin + byte + 1};
                byte = last ? 0 : byte + 1;
            }
            encoding.ids.push_back(piece.id());
            encoding.ranges.push_back(range);
        }
    }

    SentencePieceProcessor first_; ///< puts a space in front
    SentencePieceProcessor further_; ///< does not
    AddedTokens added_;
    SpecialTokens special_;
};

} // namespace

std::unique_ptr<Tokenizer> read_sentencepiece_tokenizer(const std::filesystem::path& model_folder)
{
    return std::make_unique<SentencePieceTokenizer>(model_folder);
}

} // namespace lava
