#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Items with the separator between them; nothing stands for empty ones at the beginning.
inline std::string joined(const std::vector<std::string>& items, std::string_view separator = ", ")
{
    std::string text;
    for (const auto& item : items) {
        text.append(text.empty() ? std::string_view() : separator).append(item);
    }
    return text;
}

/// "[8, 4096, 128]"; "any" in place of a negative size.
inline std::string shape_text(std::span<const std::int64_t> shape)
{
    std::vector<std::string> sizes;
    for (const auto size : shape) {
        sizes.push_back(size < 0 ? "any" : std::to_string(size));
    }
    return "[" + joined(sizes) + "]";
}

} // namespace lava
