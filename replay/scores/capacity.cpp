#include "replay/scores/capacity.h"

#include "replay/scores/unit_rows.h"

#include "base/error.h"
#include "base/formatted.h"

#include <ATen/ATen.h>

#include <string>

namespace lava {

namespace {

// [n]: one query head. k, v: [n, head_dim]; anchor: [head_dim]
at::Tensor head_scores(const at::Tensor& k, const at::Tensor& v, const at::Tensor& anchor, double tau)
{
    const auto alignment = tau * at::mv(unit_rows(k, 1e-12), unit_rows(anchor, 1e-12)).clamp(-1, 1);
    const auto weights = (alignment - alignment.max()).exp();
    const auto scaled = v * (weights + 1e-6).sqrt().unsqueeze(1);
    const auto capacity = at::eye(v.size(1), at::kDouble) + at::mm(scaled.t(), scaled);
    const auto root = at::linalg_cholesky(capacity); // A = L L^T, so v^T A^-1 v = ||L^-1 v||^2
    const auto solved = at::linalg_solve_triangular(root, v.t(), /*upper=*/false); // [head_dim, n]
    return weights * solved.square().sum(0);
}

} // namespace

at::Tensor capacity_scores(const LayerInputs& layer, double tau, std::int64_t future)
{
    const auto& shape = layer.shape();
    const auto n = layer.seq_len() - capacity_sinks;
    if (n <= 0) {
        throw Error(
            formatted("capkv: expected a prompt of more than {} tokens, found {}", capacity_sinks, layer.seq_len()));
    }
    const auto rotation = mean_rotation(layer.rope(), shape.head_dim, layer.seq_len(), future).to(at::kDouble);
    const auto anchors = at::mm(layer.query_mean().to(at::kDouble), rotation.t()); // [num_heads, head_dim]
    const auto k = layer.k().narrow(1, capacity_sinks, n).to(at::kDouble);
    const auto v = layer.v().narrow(1, capacity_sinks, n).to(at::kDouble);
    std::vector<at::Tensor> heads;
    for (std::int64_t head = 0; head < shape.num_heads; ++head) {
        const auto kv_head = head / shape.group_size();
        heads.push_back(head_scores(k[kv_head], v[kv_head], anchors[head], tau));
    }
    const auto scores = reduce_group(at::stack(heads), shape, GroupReduction::mean).to(at::kFloat);
    auto entries = at::empty({shape.num_kv_heads, layer.seq_len()});
    entries.narrow(1, 0, capacity_sinks).fill_(scores.max().item<float>() + 1);
    entries.narrow(1, capacity_sinks, n).copy_(scores);
    return entries;
}

} // namespace lava
