#pragma once

#include "model/chat_template.h"
#include "model/tokenizers/added_tokens.h"
#include "model/tokenizers/post_processor.h"
#include "model/tokenizers/tokenizer_config.h"

#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace lava {

/// The chat template of a model folder.
struct FolderTemplate
{
    bool given = false;
    std::optional<ChatTemplate> usable;
    std::string refusal; ///< why there is none, or none that can be used
};

/// The tokens of a model folder: their bytes, which of them are special, and its chat template. What remains to each
/// kind is to encode.
class FolderTokenizer : public Tokenizer
{
public:
    explicit FolderTokenizer(const std::filesystem::path& folder);

    std::string token_bytes(std::int64_t id) const override;
    std::string decode(const std::vector<std::int64_t>& ids) const override;
    std::int64_t vocab_size() const override { return std::ssize(tokens_); }
    std::string apply_chat_template(const std::vector<ChatMessage>& messages) const override;
    bool has_chat_template() const override { return template_.given; }

protected:
    void set_token(std::int64_t id, const std::string& bytes);
    void set_added(const AddedToken& token);
    /// Ids around `encoding`, with empty ranges at the ends of a text of `size` bytes.
    static Encoding surround(const SpecialTokens& special, Encoding encoding, std::size_t size);
    /// BOS and EOS as tokenizer_config.json asks for them, and of what it does not speak, those of `otherwise`. They
    /// are added tokens, or what `id_of`, which returns -1 for what it does not know, finds in the vocabulary. Throws
    /// Error where one is asked for that is not a token.
    SpecialTokens special_tokens(
        const std::function<std::int64_t(const std::string&)>& id_of, SpecialTokens otherwise) const;

    std::filesystem::path folder_;
    TokenizerConfig config_;
    Decoding decoding_;

private:
    std::vector<std::string> tokens_; ///< bytes by id; empty for an id that is not used
    std::set<std::int64_t> special_;
    std::unordered_map<std::string, std::int64_t> added_ids_;
    FolderTemplate template_;
};

} // namespace lava
