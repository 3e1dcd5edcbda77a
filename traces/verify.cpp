#include "traces/verify.h"

#include "base/error.h"
#include "base/formatted.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <sstream>

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
        throw Error(
            formatted("layer {} has no {}: its attention output cannot be recomputed and compared", layer, name));
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

/// [eval_len] norms of rows.
std::vector<double> row_norms(const at::Tensor& rows)
{
    const auto norms = rows.to(at::kDouble).norm(2, 1).contiguous();
    return {norms.const_data_ptr<double>(), norms.const_data_ptr<double>() + norms.size(0)};
}

LayerDeviation worst_of(
    std::int64_t layer, const at::Tensor& recomputed, const at::Tensor& recorded, const std::vector<double>& tolerances)
{
    const auto difference = row_norms(recomputed.to(at::kDouble) - recorded.to(at::kDouble));
    const auto norm = row_norms(recorded);
    LayerDeviation worst{layer, 0, 0, float_tolerance};
    for (std::size_t step = 0; step < norm.size(); ++step) {
        const auto deviation = difference[step] == 0 ? 0 : difference[step] / norm[step];
        worst.worst_step = std::max(worst.worst_step, deviation);
        if (!(deviation * worst.tolerance <= worst.deviation * tolerances[step])) {
            worst.deviation = deviation;
            worst.tolerance = tolerances[step];
        }
    }
    return worst;
}

double square(double value)
{
    return value * value;
}

/// How the attention of the query heads that share a KV head passes on small changes of its inputs.
class GroupNoise
{
public:
    GroupNoise(const LayerView& layer, std::int64_t kv_head, const at::Tensor& hidden)
        : keys_(at::cat({layer.k[kv_head], layer.k_eval[kv_head]}))
        , values_(at::cat({layer.v[kv_head], layer.v_eval[kv_head]}))
        , queries_(layer.q_eval.narrow(0, kv_head * layer.shape.group_size(), layer.shape.group_size()))
    {
        const auto dim = static_cast<double>(layer.shape.head_dim);
        auto scores = at::matmul(queries_, keys_.t()).div_(std::sqrt(dim));
        const auto masked = scores.masked_fill(hidden, -std::numeric_limits<float>::infinity());
        attention_ = at::softmax(masked, -1);
        output_ = at::matmul(attention_, values_);
        // of a score, in units of the squared roundoff: of the key's rounding, and of its own in a coarse run
        key_share_ = at::matmul(queries_.square(), keys_.square().t()).div_(dim);
        key_share_.add_(scores.square_(), square(layer.run_roundoff / layer.roundoff));
        query_share_ = spread(keys_).mul(queries_.square()).sum(-1, true).div_(dim);
    }

    const at::Tensor& output() const { return output_; }

    /// [group, eval_len, head_dim]: variance of each output number, in units of the variance of a relative rounding.
    at::Tensor variance() const
    {
        const auto weights = attention_.square();
        const auto of_values = at::matmul(weights, values_.square());
        const auto by_key = weights * key_share_; // a key's rounding moves the output towards its value
        const auto of_keys = at::matmul(by_key, values_.square()) - 2 * output_ * at::matmul(by_key, values_)
            + output_.square() * by_key.sum(-1, true);
        // the query's moves all scores at once: no more than the product of both spreads (Cauchy-Schwarz)
        return of_values + of_keys.clamp_min(0) + spread(values_) * query_share_;
    }

private:
    /// [group, eval_len, head_dim]: variance of each number of the rows under the attention.
    at::Tensor spread(const at::Tensor& rows) const
    {
        return (at::matmul(attention_, rows.square()) - at::matmul(attention_, rows).square()).clamp_min(0);
    }

    at::Tensor keys_, values_, queries_, attention_, output_, key_share_, query_share_;
};

} // namespace

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

std::vector<double> step_tolerances(const LayerView& layer)
{
    const OneThread guard;
    const auto group = layer.shape.group_size(), dim = layer.shape.head_dim;
    const auto column_norms = layer.w_o.square().sum(0).reshape({layer.shape.num_heads, 1, dim});
    const auto hidden = hidden_entries(layer);
    const auto of_inputs = square(layer.roundoff) / 3; // a rounding is uniform within the roundoff on either side
    const auto of_weights = (square(layer.w_o_roundoff) + square(layer.run_roundoff)) / 3; // the run rounds A V too
    auto expected = layer.attn_out.square().sum(1) * of_inputs; // [eval_len]
    for (std::int64_t kv_head = 0; kv_head < layer.shape.num_kv_heads; ++kv_head) {
        const GroupNoise noise(layer, kv_head, hidden);
        const auto columns = column_norms.narrow(0, kv_head * group, group);
        expected += ((noise.variance() * of_inputs + noise.output().square() * of_weights) * columns)
                        .sum(at::IntArrayRef({0, 2}));
    }
    const auto norms = row_norms(layer.attn_out), noise = row_norms(expected.sqrt().unsqueeze(1));
    std::vector<double> tolerances;
    for (std::size_t step = 0; step < norms.size(); ++step)
        tolerances.push_back(float_tolerance + (norms[step] > 0 ? 4 * noise[step] / norms[step] : 0));
    return tolerances;
}

LayerDeviation verify_layer(const LayerView& layer)
{
    need(layer.attn_out, layer.layer, "attn_out");
    const auto recomputed = recompute_attn_out(layer);
    const OneThread guard;
    return worst_of(layer.layer, recomputed, layer.attn_out, step_tolerances(layer));
}

std::string fault_of(const LayerDeviation& deviation, const std::vector<Identity>& identities)
{
    std::ostringstream text;
    if (!deviation.holds())
        text << "the attention output recomputed with the full cache deviates by " << deviation.deviation
             << " of the recorded one (attn_out), expected at most " << deviation.tolerance;
    for (const auto& identity : identities)
        if (!identity.holds() && text.str().empty())
            text << identity.what << " by " << identity.deviation << ", expected at most " << identity.tolerance;
    return text.str();
}

} // namespace lava
