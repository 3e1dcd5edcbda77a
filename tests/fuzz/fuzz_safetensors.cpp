#include "base/error.h"
#include "model/safetensors.h"

#include <numeric>

/// The header of a safetensors file: every tensor that it lets through lies inside of the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    try {
        const auto file = std::as_bytes(std::span(data, size));
        for (const auto& [name, tensor] : lava::read_safetensors(file, "input")) {
            if (std::accumulate(tensor.bytes.begin(), tensor.bytes.end(), 0u,
                    [](unsigned sum, std::byte byte) { return sum + std::to_integer<unsigned>(byte); })
                == 1u << 31) {
                return 1; // never: the sum is there so that every byte is read
            }
        }
    } catch (const lava::Error&) { // a refusal is an answer
    }
    return 0;
}
