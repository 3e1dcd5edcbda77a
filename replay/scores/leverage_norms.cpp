#include "replay/scores/leverage_norms.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

namespace {

// x / sum, 0 where all of it is 0
at::Tensor shares(const at::Tensor& x)
{
    const auto sums = x.sum(-1, true);
    return x / sums.masked_fill(sums == 0, 1);
}

at::Tensor squared_norms(const at::Tensor& x, std::int64_t block)
{
    const auto squares = x.square().sum(-1);
    if (block == 0) {
        return squares;
    }
    const auto n = squares.size(1);
    const auto padded = at::constant_pad_nd(squares, {0, (block - n % block) % block});
    return shares(padded.view({squares.size(0), -1, block})).reshape({squares.size(0), -1}).narrow(1, 0, n);
}

} // namespace

Leverage parse_leverage(std::string_view name)
{
    return name == "key"   ? Leverage::key
        : name == "value"  ? Leverage::value
        : name == "kv_avg" ? Leverage::kv_avg
                           : Leverage::kv_product;
}

at::Tensor leverage_norms(
    const at::Tensor& k, const at::Tensor& v, Leverage leverage, std::int64_t block, std::int64_t sinks)
{
    const auto combined = [&] {
        switch (leverage) {
        case Leverage::key:
            return squared_norms(k, block);
        case Leverage::value:
            return squared_norms(v, block);
        case Leverage::kv_avg:
            return (squared_norms(k, block) + squared_norms(v, block)) / 2;
        case Leverage::kv_product:
            break;
        }
        return squared_norms(k, block) * squared_norms(v, block);
    };
    auto scores = shares(combined());
    scores.narrow(1, 0, std::min(sinks, scores.size(1))).fill_(1);
    return scores;
}

} // namespace lava
