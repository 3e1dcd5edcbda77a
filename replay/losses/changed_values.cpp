#include "replay/losses/changed_values.h"

#include "analysis/quantities.h"
#include "replay/policies/contract.h"
#include "traces/verify.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lava {

namespace {

at::Tensor attention_weights(const LayerView& layer, std::int64_t kv_head)
{
    const auto group = layer.shape.group_size();
    const auto steps = layer.eval_len;
    const auto queries
        = layer.q_eval.narrow(0, kv_head * group, group).reshape({group * steps, layer.shape.head_dim}).to(at::kDouble);
    const auto keys = at::cat({layer.k[kv_head], layer.k_eval[kv_head]}).to(at::kDouble);
    auto logits = at::mm(queries, keys.t()) / std::sqrt(static_cast<double>(layer.shape.head_dim));
    logits.masked_fill_(hidden_entries(layer).repeat({group, 1}), -std::numeric_limits<double>::infinity());
    return logits.sub_(logits.amax(1, true)).exp_();
}

template <typename T> std::vector<T> to_vector(const at::Tensor& tensor)
{
    const at::Tensor values = tensor.to(c10::CppTypeToScalarType<T>::value).contiguous();
    return {values.const_data_ptr<T>(), values.const_data_ptr<T>() + values.numel()};
}

at::Tensor l1(const at::Tensor& x)
{
    return x.abs().sum(-1, false, at::kDouble);
}

at::Tensor l2(const at::Tensor& x)
{
    return x.to(at::kDouble).square().sum(-1).sqrt();
}

} // namespace

ChangedValues::ChangedValues(const LayerView& layer)
    : layer_(layer)
{
    for (std::int64_t kv_head = 0; kv_head < layer.shape.num_kv_heads; ++kv_head) {
        weights_.push_back(attention_weights(layer, kv_head));
    }
}

// o - ô [group * T, head_dim] of one KV head; evicted_share: [group * T, 1]
at::Tensor ChangedValues::head_difference(std::int64_t kv_head, std::span<const std::uint32_t> kept,
    const at::Tensor& values, at::Tensor& evicted_share) const
{
    const auto n = layer_.seq_len;
    auto mask = at::zeros({n}, at::kDouble);
    for (const auto entry : kept) {
        mask.data_ptr<double>()[entry] = 1;
    }
    const auto& all = weights_[static_cast<std::size_t>(kv_head)];
    const auto decode = all.narrow(1, n, layer_.eval_len);
    const auto kept_weights = all.narrow(1, 0, n) * mask;
    const auto evicted_weights = all.narrow(1, 0, n) * (1 - mask);
    const auto v = layer_.v[kv_head].to(at::kDouble);
    const auto kept_mass = kept_weights.sum(1, true) + decode.sum(1, true);
    const auto evicted_mass = evicted_weights.sum(1, true);
    const auto kept_sum = at::mm(kept_weights, v) + at::mm(decode, layer_.v_eval[kv_head].to(at::kDouble));
    const auto change = (v - values[kv_head].to(at::kDouble)).masked_fill_(mask.eq(0).unsqueeze(1), 0);
    const auto moved = at::mm(kept_weights, change);
    evicted_share = evicted_mass / (evicted_mass + kept_mass);
    const auto evicted
        = (at::mm(evicted_weights, v) - evicted_mass / kept_mass * kept_sum) / (evicted_mass + kept_mass);
    return evicted + moved / kept_mass;
}

LayerLosses ChangedValues::losses(const KeptEntries& kept, const at::Tensor& values) const
{
    const auto& shape = layer_.shape;
    std::vector<at::Tensor> differences;
    std::vector<at::Tensor> shares;
    for (std::int64_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
        at::Tensor share;
        const auto difference = head_difference(kv_head, kept.of(kv_head), values, share);
        differences.push_back(difference.view({shape.group_size(), layer_.eval_len, shape.head_dim}));
        shares.push_back(share.view({shape.group_size(), layer_.eval_len}));
    }
    const auto heads = at::cat(differences); // [num_heads, T, head_dim]
    const auto rows = heads.permute({1, 0, 2}).reshape({layer_.eval_len, -1}).to(at::kFloat);
    const auto y = at::mm(rows, layer_.w_o.t());
    LayerLosses losses;
    losses.head_l1 = to_vector<float>(2 * at::cat(shares));
    losses.head_output_l1 = to_vector<float>(l1(heads));
    losses.head_output_l2 = to_vector<float>(l2(heads));
    losses.attn_out_l1 = to_vector<double>(l1(y));
    losses.attn_out_l2 = to_vector<double>(l2(y));
    return losses;
}

namespace {

const Policy* policy_named(std::span<const Run> runs, const std::string& canonical)
{
    const auto found
        = std::find_if(runs.begin(), runs.end(), [&](const Run& run) { return run.spec.canonical == canonical; });
    return found == runs.end() ? nullptr : found->policy.get();
}

// One layer's losses at one budget into those of the run.
void place(const LayerLosses& losses, PolicyReplay& replay, std::int64_t layer_of_budget)
{
    const auto put = [layer_of_budget](const auto& of_layer, auto& of_run) {
        const auto size = static_cast<std::int64_t>(of_layer.size());
        std::copy(of_layer.begin(), of_layer.end(), of_run.begin() + layer_of_budget * size);
    };
    for_each_loss([&](const auto& loss) { put(losses.*loss.array, replay.*loss.array); });
}

void measure_layer(
    const LayerView& view, const LayerInputs& inputs, const Policy& policy, ReplayReport& report, std::size_t index)
{
    auto& replay = report.policies[index];
    const ChangedValues changed(view);
    const auto heads = static_cast<std::size_t>(view.shape.num_kv_heads);
    for (std::size_t g = 0; g < replay.budgets.size(); ++g) {
        const auto layer_of_budget = static_cast<std::int64_t>(g) * view.shape.num_layers + view.layer;
        const KeptEntries kept{report.ranking(index, g, view.layer),
            std::span(replay.counts).subspan(static_cast<std::size_t>(layer_of_budget) * heads, heads)};
        const auto values = policy.values(inputs, kept);
        check_values(replay.policy, inputs, kept, values);
        place(changed.losses(kept, values), replay, layer_of_budget);
    }
}

} // namespace

ChangingPolicies::ChangingPolicies(std::span<const Run> runs, const ReplayReport& report)
{
    for (std::size_t i = 0; i < report.policies.size(); ++i) {
        const auto* policy = policy_named(runs, report.policies[i].policy);
        if (policy != nullptr && policy->changes_values()) {
            by_index_.emplace(i, policy);
            any_per_query_head_ = any_per_query_head_ || policy->per_query_head();
        }
    }
}

void ChangingPolicies::measure(const LayerView& view, int threads, ReplayReport& report) const
{
    if (by_index_.empty()) {
        return;
    }
    const auto& info = report.trace;
    const LayerInputs inputs(view, 0, {info.rope_inv_freq, info.rope_attention_scaling}, threads);
    const auto expanded_view = any_per_query_head_ ? per_query_head(view) : LayerView();
    const auto expanded = inputs.seen_by_query_heads(expanded_view);
    for (const auto& [index, policy] : by_index_) {
        const bool expand = policy->per_query_head();
        measure_layer(expand ? expanded_view : view, expand ? expanded : inputs, *policy, report, index);
    }
}

} // namespace lava
