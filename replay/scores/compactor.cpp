#include "replay/scores/compactor.h"

#include "base/error.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace lava {

namespace {

// [heads, head_dim, dimension]
at::Tensor gaussian(std::int64_t heads, std::int64_t head_dim, const Sketch& sketch)
{
    const auto generator = at::detail::createCPUGenerator(sketch.seed);
    at::Tensor drawn;
    for (std::int64_t layer = 0; layer <= sketch.layer; ++layer) {
        drawn = at::randn({1, heads, head_dim, sketch.dimension}, generator);
    }
    return drawn.squeeze(0) * (1 / std::sqrt(static_cast<double>(sketch.dimension)));
}

at::Tensor factor_with_jitter(const at::Tensor& gram)
{
    const auto identity = at::eye(gram.size(-1));
    double jitter = 0.01;
    for (int attempt = 0; attempt < 5; ++attempt) {
        const auto [factor, failures] = at::linalg_cholesky_ex(gram + jitter * identity);
        if (!failures.any().item<bool>()) {
            return factor;
        }
        jitter *= 10;
    }
    throw Error("leverage: the keys' Gram matrix has no Cholesky factor, even with a jitter of 100");
}

// One chunk: [heads, tokens of it]. q, k: [heads, count, head_dim]
at::Tensor sums_of_chunk(const at::Tensor& q, const at::Tensor& k, std::int64_t chunk)
{
    const auto count = k.size(1);
    const auto padding = chunk - count;
    const auto logits = at::constant_pad_nd(at::matmul(q, k.transpose(1, 2)), {0, padding, 0, padding}, 0);
    return at::softmax(logits, -1).sum(1).narrow(1, 0, count);
}

} // namespace

at::Tensor leverage_scores(const at::Tensor& k, const Sketch& sketch)
{
    auto x = k - k.mean(1, true);
    if (sketch.dimension > 0) {
        x = at::matmul(x, gaussian(k.size(0), k.size(2), sketch));
    }
    const auto transposed = x.transpose(1, 2);
    const auto gram = at::matmul(transposed, x);
    const auto factor = factor_with_jitter(0.5 * (gram + gram.transpose(1, 2)));
    return (x * at::cholesky_solve(transposed, factor).transpose(1, 2)).sum(-1).clamp_min(0);
}

at::Tensor chunk_attention_sums(const at::Tensor& q, const at::Tensor& k, std::int64_t chunk)
{
    std::vector<at::Tensor> chunks;
    for (std::int64_t begin = 0; begin < k.size(1); begin += chunk) {
        const auto count = std::min(chunk, k.size(1) - begin);
        chunks.push_back(sums_of_chunk(q.narrow(1, begin, count), k.narrow(1, begin, count), chunk));
    }
    return at::cat(chunks, 1);
}

at::Tensor standardised(const at::Tensor& scores)
{
    return (scores - scores.mean()) / scores.std().clamp_min(1e-6);
}

} // namespace lava
