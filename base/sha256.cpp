#include "base/sha256.h"

#include "base/error.h"

#include <openssl/evp.h>

#include <array>

namespace lava {

std::string sha256(std::span<const std::byte> data)
{
    std::array<unsigned char, 32> digest;
    if (EVP_Digest(data.data(), data.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1)
        throw Error("libcrypto could not compute a SHA-256");
    std::string hex;
    for (const unsigned byte : digest)
        for (const unsigned digit : {byte >> 4, byte & 15})
            hex += "0123456789abcdef"[digit];
    return hex;
}

} // namespace lava
