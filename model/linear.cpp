#include "model/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

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

} // namespace

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias)
{
    const auto added = bias.defined() ? std::optional(bias) : std::nullopt;
    static const auto onednn = find_onednn_linear();
    // One row: the weights are read once, and the plain kernel is as fast. From two rows on its sums depend on the
    // number of threads (at 7 rows, say), oneDNN's do not.
    const bool one_row = x.numel() == x.size(-1);
    // where a tensor is not contiguous, oneDNN falls back to its reference loops, a thousand times slower
    const bool plain = x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous() && weight.is_contiguous();
    if (!onednn || one_row || !plain)
        return at::linear(x, weight, added);
    return onednn->call(x, weight, added, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

} // namespace lava
