#include "model/chat_template.h"

#include "base/error.h"
#include "model/jinja/render.h"
#include "model/tokenizers/json_view.h"

#include <ctime>
#include <fstream>
#include <iterator>

namespace lava {

struct ChatTemplate::Parsed
{
    std::string file;
    jinja::Block block;
    std::map<std::string, std::string> special_tokens;
};

namespace {

/// Runs `body`; its errors get the file's name.
template <typename Body> auto in_file(const std::string& file, const Body& body)
{
    try {
        return body();
    } catch (const Error& error) {
        throw Error(file + ": chat template: " + error.what());
    }
}

/// "default" of [{"name": ..., "template": ...}, ...]
std::string default_of(const JsonView& list)
{
    for (const JsonView& entry : list.elements()) {
        if (entry.string("name") == "default") {
            return entry.string("template");
        }
    }
    list.refuse("a template named default among the named ones");
}

} // namespace

ChatTemplate::ChatTemplate(std::string_view jinja, std::string file, std::map<std::string, std::string> special_tokens)
{
    parsed_ = in_file(file, [&] {
        require_utf8(jinja);
        return std::make_shared<const Parsed>(Parsed{file, jinja::parse(jinja), std::move(special_tokens)});
    });
}

std::string ChatTemplate::apply(const std::vector<ChatMessage>& messages) const
{
    using jinja::Value;
    jinja::List list;
    for (const ChatMessage& message : messages) {
        list.push_back(
            Value::dict({{"role", Value::string(message.role)}, {"content", Value::string(message.content)}}));
    }
    // tools and documents are there, but none; anything else that a template asks for is undefined
    jinja::Dict variables{{"messages", Value::list(std::move(list))}, {"tools", Value::none()},
        {"documents", Value::none()}, {"add_generation_prompt", Value::boolean(true)}};
    for (const auto& [name, token] : parsed_->special_tokens) {
        variables.emplace_back(name, Value::string(token));
    }
    return in_file(parsed_->file, [&] { return jinja::render(parsed_->block, variables, std::time(nullptr)); });
}

ChatTemplateSource find_chat_template(const std::filesystem::path& model_folder)
{
    const std::filesystem::path own = model_folder / "chat_template.jinja";
    if (std::ifstream stream(own, std::ios::binary); stream) {
        return {own, std::string(std::istreambuf_iterator<char>(stream), {})};
    }
    const std::filesystem::path config = model_folder / "tokenizer_config.json";
    if (!std::filesystem::exists(config)) {
        return {};
    }
    const nlohmann::json document = read_json(config);
    const std::optional<JsonView> found = JsonView(document, config.string()).find("chat_template");
    if (!found) {
        return {};
    }
    return {config, found->value().is_array() ? default_of(*found) : found->string()};
}

} // namespace lava
