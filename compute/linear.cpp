#include "compute/linear.h"

#include "compute/cpu/arithmetic.h"
#include "compute/cpu/plain_tensor.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <optional>
#include <string_view>

namespace lava {

namespace {

using LinearPointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
    std::string_view, c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

/// oneDNN's linear is not part of LibTorch's public interface, so it is looked up by name and may be missing.
std::optional<c10::TypedOperatorHandle<LinearPointwise>> find_onednn_linear()
{
    const auto handle = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!handle || !handle->hasKernelForDispatchKey(c10::DispatchKey::CPU))
        return std::nullopt;
    try {
        return handle->typed<LinearPointwise>();
    } catch (const c10::Error&) { // another signature in another version
        return std::nullopt;
    }
}

/// One row: the weights are read once, and how fast they come from memory is all that counts.
at::Tensor project_row(const at::Tensor& x, const at::Tensor& weight)
{
    constexpr std::int64_t worth_a_thread = 1 << 18; // numbers
    auto shape = x.sizes().vec();
    shape.back() = weight.size(0);
    auto result = at::empty(shape, x.options());
    const auto rows = weight.size(0), size = weight.size(1);
    const auto parts = std::clamp<std::int64_t>(weight.numel() / worth_a_thread, 1, worker_threads());
    parallel_items(parts, static_cast<int>(parts), [&](std::int64_t part) {
        const auto first = rows * part / parts, end = rows * (part + 1) / parts;
        arithmetic().rows.dots(weight.const_data_ptr<float>() + first * size, end - first, size,
            x.const_data_ptr<float>(), result.mutable_data_ptr<float>() + first);
    });
    return result;
}

} // namespace

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias)
{
    const auto added = bias.defined() ? std::optional(bias) : std::nullopt;
    static const auto onednn = find_onednn_linear();
    // where a tensor is not contiguous, oneDNN falls back to its reference loops, a thousand times slower
    const bool plain = is_plain(x) && is_plain(weight);
    if (plain && x.numel() == x.size(-1)) {
        const auto result = project_row(x, weight);
        return bias.defined() ? result.add_(bias) : result;
    }
    // not MKL's, whose sums depend on the number of threads (at 7 rows, say)
    if (!onednn || !plain)
        return at::linear(x, weight, added);
    return onednn->call(x, weight, added, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

} // namespace lava
