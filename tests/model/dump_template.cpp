// Prints what chat templates make of conversations, for tests/parity/compare_templates.py.

#include "base/error.h"
#include "base/program.h"
#include "model/chat_template.h"

#include <nlohmann/json.hpp>

#include <iostream>

namespace {

using Json = nlohmann::json;

Json apply(const lava::ChatTemplate& chat_template, const Json& conversation)
try {
    std::vector<lava::ChatMessage> messages;
    for (const Json& message : conversation) {
        messages.push_back({message.at("role"), message.at("content")});
    }
    return {{"text", chat_template.apply(messages)}};
} catch (const lava::Error& error) {
    return {{"error", error.what()}};
}

Json apply_all(const Json& request)
try {
    const lava::ChatTemplate chat_template(
        request.at("template").get<std::string>(), "template", request.at("special_tokens"));
    Json result = Json::array();
    for (const Json& conversation : request.at("conversations")) {
        result.push_back(apply(chat_template, conversation));
    }
    return result;
} catch (const lava::Error& error) {
    return Json(request.at("conversations").size(), Json{{"error", error.what()}});
}

} // namespace

/// Reads [{"template", "special_tokens", "conversations"}, ...] from stdin and prints, for each, a list of {"text"} or
/// {"error"}.
int main()
{
    return lava::run_program("lava-dump-template", [] {
        Json results = Json::array();
        for (const Json& request : Json::parse(std::cin)) {
            results.push_back(apply_all(request));
        }
        std::cout << results << '\n';
        return 0;
    });
}
