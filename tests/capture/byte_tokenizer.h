#pragma once

#include "model/tokenizer.h"

namespace lava {

/// A token per byte, special tokens 256 (BOS), and <user>...</user> as its chat template.
class ByteTokenizer : public Tokenizer
{
public:
    Encoding encode(std::string_view text, bool add_special_tokens) const override
    {
        Encoding encoding;
        if (add_special_tokens) {
            encoding.ids.push_back(256);
            encoding.ranges.push_back({0, 0});
        }
        for (std::size_t i = 0; i < text.size(); ++i) {
            encoding.ids.push_back(static_cast<unsigned char>(text[i]));
            encoding.ranges.push_back({i, i + 1});
        }
        return encoding;
    }
    std::string token_bytes(std::int64_t id) const override
    {
        return id == 256 ? std::string("<s>") : std::string(1, static_cast<char>(id));
    }
    std::string decode(const std::vector<std::int64_t>& ids) const override
    {
        std::string text;
        for (const std::int64_t id : ids) {
            text += id == 256 ? "" : token_bytes(id);
        }
        return text;
    }
    std::int64_t vocab_size() const override { return 257; }
    bool has_chat_template() const override { return true; }
    std::string apply_chat_template(const std::vector<ChatMessage>& messages) const override
    {
        return "<user>" + messages.front().content + "</user>";
    }
};

} // namespace lava
