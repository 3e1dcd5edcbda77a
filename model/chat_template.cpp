#include "model/chat_template.h"

#include "traces/error.h"

#include <optional>

namespace lava {

namespace {

constexpr std::string_view loop_begin = "{% for message in messages %}";
constexpr std::string_view system_begin
    = "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n";
constexpr std::string_view system_end = "<|im_end|>\\n' }}{% endif %}";
constexpr std::string_view message_text
    = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}";
constexpr std::string_view assistant_turn = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

bool take(std::string_view& text, std::string_view piece)
{
    const bool found = text.starts_with(piece);
    text.remove_prefix(found ? piece.size() : 0);
    return found;
}

/// A newline inside a Jinja string may be written out or as \n; both mean the same.
std::string with_escaped_newlines(std::string_view text)
{
    std::string result;
    for (const char c : text) {
        result += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return result;
}

/// The value of a single-quoted Jinja string's inside; nothing where it ends early or escapes something else.
std::optional<std::string> unescape(std::string_view text)
{
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\'') {
            return std::nullopt;
        }
        if (text[i] != '\\') {
            result += text[i];
            continue;
        }
        if (++i == text.size()) {
            return std::nullopt;
        }
        switch (text[i]) {
        case 'n':
            result += '\n';
            break;
        case '\\':
        case '\'':
            result += text[i];
            break;
        default:
            return std::nullopt;
        }
    }
    return result;
}

std::optional<ChatTemplate> recognise(std::string_view text)
{
    ChatTemplate result;
    if (!take(text, loop_begin)) {
        return std::nullopt;
    }
    if (take(text, system_begin)) {
        const std::size_t end = text.find(system_end);
        const std::optional<std::string> system = unescape(text.substr(0, end));
        if (end == std::string_view::npos || !system) {
            return std::nullopt;
        }
        result.default_system = *system;
        text.remove_prefix(end + system_end.size());
    }
    if (!take(text, message_text) || !take(text, assistant_turn) || !text.empty()) {
        return std::nullopt;
    }
    return result;
}

std::string turn(const std::string& role, const std::string& content)
{
    return "<|im_start|>" + role + "\n" + content + "<|im_end|>\n";
}

} // namespace

std::string ChatTemplate::apply(const std::vector<ChatMessage>& messages) const
{
    std::string text;
    if (!default_system.empty() && !messages.empty() && messages.front().role != "system") {
        text += turn("system", default_system);
    }
    for (const ChatMessage& message : messages) {
        text += turn(message.role, message.content);
    }
    return text + "<|im_start|>assistant\n";
}

ChatTemplate parse_chat_template(std::string_view jinja, const std::string& file)
{
    const std::string text = with_escaped_newlines(jinja);
    if (const std::optional<ChatTemplate> result = recognise(text)) {
        return *result;
    }
    throw Error(file + ": chat_template: expected ChatML (<|im_start|>role ... <|im_end|>), found another template: "
        + text.substr(0, 60) + (text.size() > 60 ? "..." : ""));
}

} // namespace lava
