#include "model/tokenizers/byte_level.h"

#include <array>
#include <unordered_map>

namespace lava {

namespace {

std::array<std::string, 256> make_stand_ins()
{
    std::array<std::string, 256> result;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        const unsigned code = visible ? byte : next++;
        result[byte] = code < 0x80
            ? std::string(1, static_cast<char>(code))
            : std::string{static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
    }
    return result;
}

std::unordered_map<std::string, char> make_bytes()
{
    std::unordered_map<std::string, char> result;
    for (unsigned byte = 0; byte < 256; ++byte) {
        result[stand_in(static_cast<unsigned char>(byte))] = static_cast<char>(byte);
    }
    return result;
}

} // namespace

const std::string& stand_in(unsigned char byte)
{
    static const std::array<std::string, 256> stand_ins = make_stand_ins();
    return stand_ins[byte];
}

std::string stood_for(const std::string& printable)
{
    static const std::unordered_map<std::string, char> bytes = make_bytes();
    std::string result;
    for (std::size_t i = 0; i < printable.size();) {
        const std::size_t length = static_cast<unsigned char>(printable[i]) < 0x80 ? 1 : 2;
        const auto found = bytes.find(printable.substr(i, length));
        if (found == bytes.end()) {
            return printable;
        }
        result += found->second;
        i += length;
    }
    return result;
}

} // namespace lava
