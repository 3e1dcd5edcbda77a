#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava {

/// The order in which kvpress 0.5.5's EntropyGatedChunkKVPress takes tokens, as scores [heads, seq_len]: seq_len for
/// the first one, 1 for the last, the same for every head. Token scores are summed over heads; chunks of `chunk` tokens
/// (the last may be shorter) come in descending order of their mean. Of one whose mean is at least the median (the
/// lower one of two) and whose entropy, normalised by the logarithm of its length, lies below the median, only the
/// `spiky` best tokens are taken; the tokens left over follow by their scores. Equal scores: the older first.
/// scores: [heads, seq_len].
at::Tensor entropy_gated_order(const at::Tensor& scores, std::int64_t chunk, std::int64_t spiky);

} // namespace lava
