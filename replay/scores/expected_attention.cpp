#include "replay/scores/expected_attention.h"

#include "base/error.h"
#include "base/formatted.h"
#include "replay/scores/padding.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace lava {

namespace {

// [num_heads, keys]
at::Tensor expected_logits(const LayerInputs& layer, const at::Tensor& k, const ExpectedAttentionRule& rule)
{
    const auto& shape = layer.shape();
    const auto d = static_cast<double>(shape.head_dim);
    const auto turn = mean_rotation(layer.rope(), shape.head_dim, layer.seq_len(), rule.future);
    std::vector<at::Tensor> logits;
    for (std::int64_t head = 0; head < shape.num_heads; ++head) {
        const auto keys = k[head / shape.group_size()];
        auto of_head = at::mv(keys, at::mv(turn, layer.query_mean()[head])) / std::sqrt(d);
        if (rule.covariance) {
            const auto covariance = at::mm(at::mm(turn, layer.query_covariance()[head]), turn.t());
            of_head += (at::mm(keys, covariance) * keys).sum(1) / (2 * d);
        }
        logits.push_back(of_head);
    }
    return at::stack(logits);
}

} // namespace

at::Tensor expected_attention_scores(const LayerInputs& layer, const ExpectedAttentionRule& rule)
{
    const auto sinks = expected_attention_sinks;
    const auto behind = layer.seq_len() - sinks;
    if (behind <= 0) {
        throw Error(formatted("expected-attention: expected more than {} tokens, found {}", sinks, layer.seq_len()));
    }
    const auto logits = expected_logits(layer, layer.k().narrow(1, sinks, behind), rule);
    auto scores = reduce_group(at::softmax(logits, -1), layer.shape(), GroupReduction::mean);
    if (rule.value_norm) {
        scores = (scores + rule.epsilon) * layer.v().narrow(1, sinks, behind).norm(2, -1);
    }
    return padded_on_top(scores, sinks, 0);
}

} // namespace lava
