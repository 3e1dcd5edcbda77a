#include "base/formatted.h"

#include <fmt/args.h>
#include <fmt/format.h>

namespace lava {

std::string formatted_text(std::string_view pattern, std::span<const MessageValue> values)
{
    fmt::dynamic_format_arg_store<fmt::format_context> arguments;
    for (const MessageValue& value : values)
        std::visit([&](const auto& shown) { arguments.push_back(shown); }, value);
    return fmt::vformat(fmt::string_view(pattern.data(), pattern.size()), arguments);
}

} // namespace lava
