#include "compute/cpu/supported_arithmetic.h"

#include <vector>

namespace lava {

std::span<const Arithmetic* const> supported_arithmetic()
{
    static const auto found = [] {
        std::vector<const Arithmetic*> runnable;
#ifdef LAVA_X86
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl"))
            runnable.push_back(&arithmetic_avx512);
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            runnable.push_back(&arithmetic_avx2);
#endif
        runnable.push_back(&arithmetic_baseline);
        return runnable;
    }();
    return found;
}

const Arithmetic& fastest_arithmetic()
{
    return *supported_arithmetic().front();
}

bool is_plain(const at::Tensor& x)
{
    return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

} // namespace lava
