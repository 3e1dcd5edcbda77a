#include "replay/policies/contract.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/sizes.h"
#include "base/text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace lava {

namespace {

[[noreturn]] void refuse(const std::string& name, std::int64_t layer, const std::string& message)
{
    throw Error(formatted("{}: layer {}: {}", name, layer, message));
}

// `what` on the CPU, float32 and of that shape.
void check_tensor(const std::string& name, std::int64_t layer, const std::string& what, const at::Tensor& tensor,
    at::IntArrayRef shape)
{
    const auto expected = what + ": expected float32 " + shape_text(shape) + ", found ";
    if (!tensor.defined()) {
        refuse(name, layer, expected + "none");
    }
    if (tensor.scalar_type() != at::kFloat || tensor.sizes() != shape || !tensor.device().is_cpu()) {
        const std::string type = tensor.scalar_type() == at::kFloat ? "float32"
            : tensor.scalar_type() == at::kDouble                   ? "float64"
                                                                    : c10::toString(tensor.scalar_type());
        refuse(name, layer,
            expected + type + " " + shape_text(tensor.sizes())
                + (tensor.device().is_cpu() ? "" : " on another device"));
    }
}

// Whether all are finite: no branch, so that it costs a fraction of sorting them.
bool all_finite(std::span<const float> values)
{
    constexpr std::uint32_t exponent = 0x7f800000U;
    std::uint32_t found = 0;
    for (const auto value : values) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        found |= static_cast<std::uint32_t>((bits & exponent) == exponent);
    }
    return found == 0;
}

std::string shown(float value)
{
    return std::isnan(value) ? "NaN" : value > 0 ? "+inf" : "-inf";
}

void check_head_counts(
    const std::string& name, std::int64_t layer, const std::vector<std::int64_t>& counts, const BudgetRequest& request)
{
    if (counts.empty()) {
        return;
    }
    if (std::ssize(counts) != request.shape.num_kv_heads) {
        refuse(name, layer,
            formatted("head_counts: expected {} heads, found {}", request.shape.num_kv_heads, counts.size()));
    }
    for (const auto count : counts) {
        if (count < 0 || count > request.evictable()) {
            refuse(name, layer,
                formatted("head_counts: expected numbers from 0 to {}, found {}", request.evictable(), count));
        }
    }
}

} // namespace

void check_scores(const Policy& policy, const std::string& name, std::int64_t layer, const LayerScores& scores,
    const BudgetRequest& request)
{
    const auto evictable = request.evictable();
    check_tensor(name, layer, "scores", scores.entries, {request.shape.num_kv_heads, evictable});
    const auto entries = scores.entries.contiguous();
    const std::span values(entries.const_data_ptr<float>(), static_cast<std::size_t>(entries.numel()));
    if (!all_finite(values)) {
        const bool infinite = policy.scores_infinity();
        const auto wrong = std::ranges::find_if(
            values, [infinite](float value) { return !std::isfinite(value) && !(infinite && value > 0); });
        if (wrong != values.end()) {
            const auto at = wrong - values.begin();
            refuse(name, layer,
                formatted("scores: expected finite numbers, found {} at head {}, position {}", shown(*wrong),
                    at / evictable, at % evictable));
        }
    }
    if (!std::isfinite(scores.weight)) {
        refuse(name, layer, "weight: expected a finite number, found " + shown(static_cast<float>(scores.weight)));
    }
    check_head_counts(name, layer, scores.head_counts, request);
}

void check_allocation(const std::string& name, const Allocation& allocation, const BudgetRequest& request)
{
    const auto heads = request.shape.num_kv_heads;
    for (const auto* counts : {&allocation.granted, &allocation.retained}) {
        if (std::ssize(*counts) != request.heads()) {
            throw Error(formatted("{}: allocation at budget {}: expected {} heads ({} layers of {}), found {}", name,
                request.budget, request.heads(), request.shape.num_layers, heads, counts->size()));
        }
    }
    for (std::size_t i = 0; i < allocation.retained.size(); ++i) {
        const auto retained = allocation.retained[i];
        if (retained < 0 || retained > request.evictable()) {
            const auto at = static_cast<std::int64_t>(i);
            refuse(name, at / heads,
                formatted("allocation at budget {}, head {}: expected from 0 to {} entries, found {}", request.budget,
                    at % heads, request.evictable(), retained));
        }
    }
    // a rule may leave a short prompt whole (CAKE: up to a window more), or no head empty
    const auto most = sum_of(allocation.granted) + (request.window + 1) * request.heads();
    if (sum_of(allocation.retained) > most) {
        throw Error(formatted("{}: allocation at budget {}: expected to keep at most {} of all heads' entries (those "
                              "granted, a window and one more of each head), found {}",
            name, request.budget, most, sum_of(allocation.retained)));
    }
}

void check_values(const std::string& name, const LayerInputs& layer, const KeptEntries& kept, const at::Tensor& values)
{
    const auto& shape = layer.shape();
    const auto n = layer.seq_len(), dim = shape.head_dim;
    check_tensor(name, layer.layer(), "changed values", values, {shape.num_kv_heads, n, dim});
    const auto rows = values.contiguous();
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
        for (const auto entry : kept.of(head)) {
            const auto* row = rows.const_data_ptr<float>() + (head * n + entry) * dim;
            if (!all_finite({row, static_cast<std::size_t>(dim)})) {
                const auto* wrong = std::find_if_not(row, row + dim, [](float x) { return std::isfinite(x); });
                refuse(name, layer.layer(),
                    formatted("changed values: expected finite numbers, found {} at head {}, position {}",
                        shown(*wrong), head, entry));
            }
        }
    }
}

} // namespace lava
