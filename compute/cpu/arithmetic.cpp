#include "compute/cpu/arithmetic.h"

#include "compute/cpu/kernels/instruction_sets.h"

#include <atomic>
#include <vector>

namespace lava {

namespace {

std::vector<const Arithmetic*> find_runnable()
{
    std::vector<const Arithmetic*> found;
#ifdef LAVA_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        found.push_back(&avx512_arithmetic);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.push_back(&avx2_arithmetic);
    }
#endif
    found.push_back(&baseline_arithmetic);
    return found;
}

std::atomic<const Arithmetic*>& in_use()
{
    static std::atomic<const Arithmetic*> arithmetic = runnable_arithmetic().front();
    return arithmetic;
}

} // namespace

std::span<const Arithmetic* const> runnable_arithmetic()
{
    static const auto runnable = find_runnable();
    return runnable;
}

const Arithmetic& arithmetic()
{
    return *in_use();
}

void use_arithmetic(const Arithmetic& chosen)
{
    in_use() = &chosen;
}

} // namespace lava
