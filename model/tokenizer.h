#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Half-open range of bytes of the text a token stands for.
struct ByteRange
{
    std::size_t begin = 0;
    std::size_t end = 0;
};

struct Encoding
{
    std::vector<std::int64_t> ids;
    std::vector<ByteRange>
        ranges; ///< of each id in the text that was encoded; empty range for a token it does not contain
};

struct ChatMessage
{
    std::string role;
    std::string content;
};

/// Text to token ids and back, as the model's own tokenizer does it.
class Tokenizer
{
public:
    virtual ~Tokenizer() = default;

    /// Added tokens ("<|im_start|>") in the text are recognised. `add_special_tokens`: the BOS the model expects, if
    /// any.
    virtual Encoding encode(std::string_view text, bool add_special_tokens) const = 0;
    /// Raw bytes of one token, as they appear in text.
    virtual std::string token_bytes(std::int64_t id) const = 0;
    /// Text of a sequence; special tokens are left out.
    virtual std::string decode(const std::vector<std::int64_t>& ids) const = 0;
    virtual std::int64_t vocab_size() const = 0;
    /// The chat template applied, ready to be encoded without further special tokens, the assistant's turn opened.
    /// Throws Error where the model has no template.
    virtual std::string apply_chat_template(const std::vector<ChatMessage>& messages) const = 0;
    /// Whether the model comes with a chat template, be it one that cannot be applied.
    virtual bool has_chat_template() const = 0;
};

/// Reads the tokenizer files of a Hugging Face folder. Throws Error naming the file where the kind is not known.
std::unique_ptr<Tokenizer> read_tokenizer(const std::filesystem::path& model_folder);

/// Throws Error naming the first offending byte where `text` is not UTF-8.
void require_utf8(std::string_view text);

/// The text of a file, passed on. Throws Error naming the file where it is empty or not UTF-8.
std::string checked_text(std::string text, const std::filesystem::path& file);

} // namespace lava
