#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lava::jinja {

/// Strings as Python has them, of characters, kept as UTF-8.

std::string encode_character(std::uint32_t code);
/// Byte offsets of the characters of `text`, and its size at the end.
std::vector<std::size_t> character_offsets(std::string_view text);
std::int64_t character_count(std::string_view text);

/// White space (or any of `characters`, where these are given) off the ends.
std::string strip(std::string_view text, bool left, bool right);
std::string strip(std::string_view text, bool left, bool right, std::string_view characters);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
/// The first letter upper case, the others lower.
std::string capitalize(std::string_view text);
/// The first letter of every word upper case, the others lower.
std::string title(std::string_view text);

/// Parts of a text, which is split at `separator`, at most `most` times (below 0: all); without a separator at runs of
/// white space, none of them kept.
std::vector<std::string> split(std::string_view text, std::string_view separator, std::int64_t most);
std::vector<std::string> split_space(std::string_view text);
/// Text with `from` replaced by `to`, at most `most` times (below 0: everywhere).
std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t most);

} // namespace lava::jinja
