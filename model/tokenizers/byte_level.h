#pragma once

#include <string>
#include <string_view>

namespace lava {

/// GPT-2's printable stand-in of a byte: bytes that are visible Latin-1 characters stand for themselves, the others
/// follow from U+0100 on.
const std::string& stand_in(unsigned char byte);

/// The bytes that a token's printable form stands for; a form with any other character stands for itself.
std::string stood_for(const std::string& printable);

} // namespace lava
