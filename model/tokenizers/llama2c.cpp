#include "model/tokenizers/llama2c.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/lfs_pointer.h"
#include "model/tokenizers/merge.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <unordered_map>

namespace lava {

namespace {

constexpr std::int64_t bos = 1, eos = 2;
constexpr std::int64_t first_byte = 3; ///< ids 3..258 are the bytes "<0x00>".."<0xFF>"
constexpr std::int64_t last_byte = first_byte + 255;

struct Entry
{
    std::string text;
    float score = 0;
};

/// Reads little-endian values from a file held in memory.
class Bytes
{
public:
    explicit Bytes(const std::filesystem::path& file)
        : file_(file.string())
    {
        refuse_lfs_pointer(file);
        std::ifstream stream(file, std::ios::binary);
        if (!stream) {
            throw Error(file_ + ": cannot be read");
        }
        data_.assign(std::istreambuf_iterator<char>(stream), {});
    }

    bool at_end() const { return at_ == data_.size(); }

    template <typename T> T number()
    {
        static_assert(sizeof(T) == 4 && std::endian::native == std::endian::little);
        T value;
        std::memcpy(&value, text(sizeof(T)).data(), sizeof(T));
        return value;
    }

    std::string text(std::size_t size)
    {
        if (data_.size() - at_ < size) {
            fail(formatted("ends early: expected {} more bytes at byte {}, found {}", size, at_, data_.size() - at_));
        }
        at_ += size;
        return data_.substr(at_ - size, size);
    }

    [[noreturn]] void fail(const std::string& message) const { throw Error(file_ + ": " + message); }

private:
    std::string file_;
    std::string data_;
    std::size_t at_ = 0;
};

std::vector<Entry> read_entries(const std::filesystem::path& file)
{
    Bytes bytes(file);
    const auto longest = bytes.number<std::int32_t>();
    std::vector<Entry> entries;
    while (!bytes.at_end()) {
        const auto score = bytes.number<float>();
        const auto length = bytes.number<std::int32_t>();
        if (!std::isfinite(score) || length < 0 || length > longest) {
            bytes.fail(
                formatted("token {}: expected a finite score and at most {} bytes, found score {:f} and {} bytes; "
                          "not a llama2.c tokenizer?",
                    entries.size(), longest, score, length));
        }
        entries.push_back({bytes.text(static_cast<std::size_t>(length)), score});
    }
    if (std::ssize(entries) <= last_byte || entries[first_byte].text != "<0x00>"
        || entries[last_byte].text != "<0xFF>") {
        bytes.fail(formatted("expected the bytes <0x00>..<0xFF> as tokens 3..258, found {} tokens without them; not a "
                             "llama2.c tokenizer?",
            entries.size()));
    }
    return entries;
}

class Llama2cTokenizer : public Tokenizer
{
public:
    explicit Llama2cTokenizer(const std::filesystem::path& file)
        : folder_(file.parent_path().string())
        , entries_(read_entries(file))
    {
        for (std::size_t id = 0; id < entries_.size(); ++id) {
            ids_.try_emplace(entries_[id].text, static_cast<std::int64_t>(id));
        }
    }

    Encoding encode(std::string_view text, bool add_special_tokens) const override
    {
        require_utf8(text);
        std::vector<Symbol> symbols;
        const auto space = ids_.find(" ");
        if (!text.empty() && space != ids_.end()) {
            symbols.push_back({space->second, 0, 0}); // the dummy prefix, which is not in the text
        }
        for (std::size_t at = 0; at < text.size();) {
            at = push_character(text, at, symbols);
        }
        Encoding encoding;
        if (add_special_tokens) {
            encoding.ids.push_back(bos);
            encoding.ranges.push_back({0, 0});
        }
        const auto lookup = [this](const Symbol& left, const Symbol& right) { return merge_of(left, right); };
        for (const Symbol& symbol : merge_symbols(std::move(symbols), lookup)) {
            encoding.ids.push_back(symbol.id);
            encoding.ranges.push_back({symbol.begin, symbol.end});
        }
        return encoding;
    }

    std::string token_bytes(std::int64_t id) const override
    {
        if (id < 0 || id >= vocab_size()) {
            throw Error(formatted("token id {} is not in the vocabulary of {} tokens", id, vocab_size()));
        }
        if (id >= first_byte && id <= last_byte) {
            return std::string(1, static_cast<char>(id - first_byte));
        }
        return entries_[static_cast<std::size_t>(id)].text;
    }

    std::string decode(const std::vector<std::int64_t>& ids) const override
    {
        std::string text;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            if (ids[i] == bos || ids[i] == eos) {
                continue;
            }
            std::string piece = token_bytes(ids[i]);
            if (i > 0 && ids[i - 1] == bos && piece.starts_with(' ')) {
                piece.erase(0, 1); // the dummy prefix
            }
            text += piece;
        }
        return text;
    }

    std::int64_t vocab_size() const override { return std::ssize(entries_); }

    bool has_chat_template() const override { return false; }
    std::string apply_chat_template(const std::vector<ChatMessage>&) const override
    {
        throw Error(folder_ + ": the model has no chat template (a llama2.c tokenizer knows none)");
    }

private:
    /// Adds the character at `at`, or its bytes where the vocabulary lacks it. Returns where the next one begins.
    std::size_t push_character(std::string_view text, std::size_t at, std::vector<Symbol>& symbols) const
    {
        std::size_t end = at + 1;
        while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
            ++end;
        }
        if (const auto found = ids_.find(std::string(text.substr(at, end - at))); found != ids_.end()) {
            symbols.push_back({found->second, at, end});
            return end;
        }
        for (; at < end; ++at) {
            symbols.push_back({first_byte + static_cast<unsigned char>(text[at]), at, at + 1});
        }
        return end;
    }

    std::optional<Merge> merge_of(const Symbol& left, const Symbol& right) const
    {
        const auto& text = entries_;
        const auto found
            = ids_.find(text[static_cast<std::size_t>(left.id)].text + text[static_cast<std::size_t>(right.id)].text);
        if (found == ids_.end()) {
            return std::nullopt;
        }
        return Merge{-static_cast<double>(text[static_cast<std::size_t>(found->second)].score), found->second};
    }

    std::string folder_;
    std::vector<Entry> entries_;
    std::unordered_map<std::string, std::int64_t> ids_; ///< by text; the lowest id where a text occurs twice
};

} // namespace

std::unique_ptr<Tokenizer> read_llama2c_tokenizer(const std::filesystem::path& file)
{
    return std::make_unique<Llama2cTokenizer>(file);
}

} // namespace lava
