#include "replay/scores/precision.h"

#include <ATen/ATen.h>

namespace lava {

Precision parse_precision(std::string_view name)
{
    return name == "emulate_bf16" ? Precision::bf16 : name == "emulate_fp16" ? Precision::fp16 : Precision::fp32;
}

at::Tensor rounded(const at::Tensor& x, Precision precision)
{
    if (precision == Precision::fp32) {
        return x;
    }
    return x.to(precision == Precision::bf16 ? at::kBFloat16 : at::kHalf).to(at::kFloat);
}

float rounded(float x, Precision precision)
{
    switch (precision) {
    case Precision::bf16:
        return at::BFloat16(x);
    case Precision::fp16:
        return at::Half(x);
    case Precision::fp32:
        break;
    }
    return x;
}

} // namespace lava
