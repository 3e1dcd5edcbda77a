#include "compute/cpu/kernels/kernels.h"

#include "compute/cpu/kernels/instruction_set.h"

#include <atomic>
#include <vector>

namespace lava {

namespace {

std::vector<Kernels> find_runnable()
{
    std::vector<Kernels> found;
#ifdef LAVA_X86_KERNELS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        found.push_back(avx512_kernels);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.push_back(avx2_kernels);
    }
#endif
    found.push_back(baseline_kernels);
    return found;
}

std::atomic<const Kernels*>& in_use()
{
    static std::atomic<const Kernels*> kernels = &runnable_kernels().front();
    return kernels;
}

} // namespace

std::span<const Kernels> runnable_kernels()
{
    static const auto runnable = find_runnable();
    return runnable;
}

const Kernels& kernels()
{
    return *in_use();
}

void use_kernels(const Kernels& chosen)
{
    in_use() = &chosen;
}

} // namespace lava
