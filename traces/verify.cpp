#include "traces/verify.h"

#include "traces/error.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

namespace lava {

namespace {

/// Sums of LibTorch differ in their last bits with the number of threads.
class OneThread
{
public:
    OneThread()
        : before_(at::get_num_threads())
    {
        at::set_num_threads(1);
    }
    ~OneThread() { at::set_num_threads(before_); }
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

private:
    int before_;
};

void need(const at::Tensor& tensor, std::int64_t layer, const char* name)
{
    if (!tensor.defined())
        throw Error("layer " + std::to_string(layer) + " has no " + name
            + ": its attention output cannot be recomputed and compared");
}

/// [group_size, eval_len, head_dim]: attention of the query heads that share KV head `kv_head`.
at::Tensor group_output(const LayerView& layer, std::int64_t kv_head, const at::Tensor& hidden)
{
    const auto group = layer.shape.group_size();
    const auto keys = at::cat({layer.k[kv_head], layer.k_eval[kv_head]});
    const auto values = at::cat({layer.v[kv_head], layer.v_eval[kv_head]});
    const auto queries = layer.q_eval.narrow(0, kv_head * group, group);
    const auto scale = 1.0 / std::sqrt(static_cast<double>(layer.shape.head_dim));
    auto scores = at::matmul(queries, keys.t()).mul_(scale);
    scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity());
    return at::matmul(at::softmax(scores, -1), values);
}

double worst_step(const at::Tensor& recomputed, const at::Tensor& recorded)
{
    const auto difference = (recomputed.to(at::kDouble) - recorded.to(at::kDouble)).norm(2, 1);
    const auto norm = recorded.to(at::kDouble).norm(2, 1);
    double worst = 0;
    for (std::int64_t step = 0; step < norm.size(0); ++step) {
        const auto delta = difference[step].item<double>();
        worst = std::max(worst, delta == 0 ? 0 : delta / norm[step].item<double>());
    }
    return worst;
}

} // namespace

double verify_tolerance(StoreType type)
{
    switch (type) {
    case StoreType::f32:
        return 1e-4;
    case StoreType::f16:
        return 1e-2;
    case StoreType::bf16:
        return 5e-2;
    }
    throw std::logic_error("unknown store type");
}

at::Tensor hidden_entries(const LayerView& layer)
{
    const auto hidden = at::ones({layer.eval_len, layer.seq_len + layer.eval_len}, at::kBool).triu(layer.seq_len + 1);
    for (std::int64_t step = 0; step < layer.eval_len; ++step)
        hidden[step].narrow(0, 0, layer.first_seen_by(step)).fill_(true);
    return hidden;
}

at::Tensor recompute_attn_out(const LayerView& layer)
{
    need(layer.q_eval, layer.layer, "q_eval");
    need(layer.k_eval, layer.layer, "k_eval");
    need(layer.v_eval, layer.layer, "v_eval");
    need(layer.w_o, layer.layer, "w_o");
    const OneThread guard;
    const auto hidden = hidden_entries(layer);
    std::vector<at::Tensor> heads;
    for (std::int64_t kv_head = 0; kv_head < layer.shape.num_kv_heads; ++kv_head)
        heads.push_back(group_output(layer, kv_head, hidden));
    const auto z = at::cat(heads).transpose(0, 1).reshape({layer.eval_len, -1}); // [eval_len, num_heads * head_dim]
    const auto out = at::matmul(z, layer.w_o.t());
    return layer.b_o.defined() ? out + layer.b_o : out;
}

LayerDeviation verify_layer(const LayerView& layer)
{
    need(layer.attn_out, layer.layer, "attn_out");
    const auto recomputed = recompute_attn_out(layer);
    const OneThread guard;
    return {layer.layer, worst_step(recomputed, layer.attn_out)};
}

} // namespace lava
