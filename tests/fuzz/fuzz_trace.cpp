#include "traces/error.h"
#include "traces/trace.h"

#include <ATen/core/Tensor.h>

#include <sys/mman.h>
#include <unistd.h>

/// A trace: opened, and everything in it read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const int file = memfd_create("trace", 0);
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) {
        return 0;
    }
    try {
        const lava::Trace trace("/proc/self/fd/" + std::to_string(file));
        for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
            trace.layer(layer);
        }
        trace.logits();
    } catch (const lava::Error&) { // a refusal is an answer
    }
    return 0;
}
