#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace lava {

/// What an entry's approximate leverage is made of.
enum class Leverage
{
    key,
    value,
    kv_avg,
    kv_product
};

Leverage parse_leverage(std::string_view name);

/// [heads, seq_len]: ||k||^2 and ||v||^2, each divided by its sum over the entry's block of `block` tokens (0: not),
/// combined, divided by the head's sum; the first `sinks` are 1 (kvpress 0.5.5, CURPress). k, v: [heads, seq_len, d].
at::Tensor leverage_norms(
    const at::Tensor& k, const at::Tensor& v, Leverage leverage, std::int64_t block, std::int64_t sinks);

} // namespace lava
