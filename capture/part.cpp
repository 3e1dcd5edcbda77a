#include "capture/part.h"

#include "base/error.h"
#include "base/formatted.h"
#include "traces/recorded_part.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

namespace lava {

namespace {

/// `numbers`, or none where they are all of 0 to count - 1; `counted` becomes how many there are.
std::vector<std::int64_t> chosen(const std::vector<std::int64_t>& numbers, const char* option, std::int64_t& counted)
{
    const auto all = counted;
    if (numbers.empty())
        return {};
    if (numbers.back() >= all)
        throw Error(formatted("{}: expected 0 to {}, found {}", option, all - 1, numbers.back()));
    counted = std::ssize(numbers);
    return counted == all ? std::vector<std::int64_t>() : numbers;
}

at::Tensor select(const at::Tensor& tensor, std::int64_t dim, const at::Tensor& indices)
{
    return tensor.defined() ? tensor.index_select(dim, indices.to(tensor.device())) : tensor;
}

/// W_O's columns of the heads.
at::Tensor select_columns(const at::Tensor& w_o, std::int64_t head_dim, const at::Tensor& heads)
{
    if (!w_o.defined())
        return w_o;
    return select(w_o.view({w_o.size(0), -1, head_dim}), 1, heads).view({w_o.size(0), -1});
}

} // namespace

TraceInfo part_info(TraceInfo info, const Part& part)
{
    const auto group = info.shape.group_size();
    info.layer_numbers = chosen(part.layers, "--layers", info.shape.num_layers);
    info.kv_head_numbers = chosen(part.kv_heads, "--heads", info.shape.num_kv_heads);
    info.shape.num_heads = info.shape.num_kv_heads * group;
    if (!info.layer_numbers.empty() && !info.layer_windows.empty()) {
        std::vector<std::int64_t> windows;
        for (const auto layer : info.layer_numbers)
            windows.push_back(info.layer_windows[static_cast<std::size_t>(layer)]);
        info.layer_windows = windows;
    }
    return info;
}

std::optional<std::int64_t> recorded_layer(const TraceInfo& info, std::int64_t layer)
{
    if (info.layer_numbers.empty())
        return layer;
    const auto found = std::ranges::find(info.layer_numbers, layer);
    return found == info.layer_numbers.end() ? std::nullopt
                                             : std::optional<std::int64_t>(found - info.layer_numbers.begin());
}

LayerView part_view(LayerView view, const TraceInfo& info, std::int64_t recorded_layer)
{
    view.layer = recorded_layer;
    view.shape = info.shape;
    if (info.kv_head_numbers.empty())
        return view;
    const auto kv_heads = at::tensor(info.kv_head_numbers, at::kLong);
    std::vector<std::int64_t> numbers;
    for (std::int64_t head = 0; head < info.shape.num_heads; ++head)
        numbers.push_back(query_head_number(info, head));
    const auto heads = at::tensor(numbers, at::kLong);
    for (auto member : {&LayerView::k, &LayerView::v, &LayerView::k_eval, &LayerView::v_eval, &LayerView::repeat_maxima,
             &LayerView::repeat_maxima_plus})
        view.*member = select(view.*member, 0, kv_heads);
    for (auto member : {&LayerView::q_window, &LayerView::q_eval, &LayerView::observed_attention,
             &LayerView::observed_attention_off_diagonal, &LayerView::q_pre_rope_mean, &LayerView::q_pre_rope_cov})
        view.*member = select(view.*member, 0, heads);
    view.w_o = select_columns(view.w_o, info.shape.head_dim, heads);
    for (auto member :
        {&LayerView::b_o, &LayerView::resid_pre, &LayerView::attn_out, &LayerView::resid_mid, &LayerView::mlp_out})
        view.*member = at::Tensor();
    return view;
}

} // namespace lava
