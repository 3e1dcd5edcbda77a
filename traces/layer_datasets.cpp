#include "traces/layer_datasets.h"

#include <iomanip>
#include <sstream>

namespace lava {

namespace {

using Extents = std::vector<std::int64_t>;

Extents cached(const TraceInfo& info)
{
    return {info.shape.num_kv_heads, info.seq_len, info.shape.head_dim};
}

Extents cached_later(const TraceInfo& info)
{
    return {info.shape.num_kv_heads, info.eval_len, info.shape.head_dim};
}

Extents column_sums(const TraceInfo& info)
{
    return {info.shape.num_heads, info.seq_len};
}

Extents maxima(const TraceInfo& info)
{
    return {info.shape.num_kv_heads, info.seq_len};
}

Extents stream(const TraceInfo& info)
{
    return {info.eval_len, info.shape.hidden_size};
}

constexpr LayerDataset table[] = {
    {"k", &LayerView::k, Role::required, cached},
    {"v", &LayerView::v, Role::required, cached},
    {"q_window", &LayerView::q_window, Role::required,
        [](const TraceInfo& info) -> Extents {
            return {info.shape.num_heads, info.window, info.shape.head_dim};
        }},
    {"observed_attention", &LayerView::observed_attention, Role::statistic, column_sums},
    {"observed_attention_off_diagonal", &LayerView::observed_attention_off_diagonal, Role::statistic, column_sums},
    {"q_pre_rope_mean", &LayerView::q_pre_rope_mean, Role::statistic,
        [](const TraceInfo& info) -> Extents {
            return {info.shape.num_heads, info.shape.head_dim};
        }},
    {"q_pre_rope_cov", &LayerView::q_pre_rope_cov, Role::statistic,
        [](const TraceInfo& info) -> Extents {
            return {info.shape.num_heads, info.shape.head_dim, info.shape.head_dim};
        }},
    {"repeat_maxima", &LayerView::repeat_maxima, Role::statistic, maxima},
    {"repeat_maxima_plus", &LayerView::repeat_maxima_plus, Role::statistic, maxima},
    {"w_o", &LayerView::w_o, Role::weight,
        [](const TraceInfo& info) -> Extents {
            return {info.shape.hidden_size, info.shape.num_heads * info.shape.head_dim};
        }},
    {"b_o", &LayerView::b_o, Role::weight, [](const TraceInfo& info) -> Extents { return {info.shape.hidden_size}; }},
    {"q_eval", &LayerView::q_eval, Role::evaluation,
        [](const TraceInfo& info) -> Extents {
            return {info.shape.num_heads, info.eval_len, info.shape.head_dim};
        }},
    {"k_eval", &LayerView::k_eval, Role::evaluation, cached_later},
    {"v_eval", &LayerView::v_eval, Role::evaluation, cached_later},
    {"resid_pre", &LayerView::resid_pre, Role::evaluation, stream},
    {"attn_out", &LayerView::attn_out, Role::evaluation, stream},
    {"resid_mid", &LayerView::resid_mid, Role::evaluation, stream},
    {"mlp_out", &LayerView::mlp_out, Role::evaluation, stream},
};

} // namespace

std::span<const LayerDataset> layer_datasets()
{
    return table;
}

std::string layer_name(std::int64_t layer, std::int64_t num_layers)
{
    std::ostringstream text;
    text << std::setfill('0') << std::setw(num_layers >= 100 ? 3 : 2) << layer;
    return text.str();
}

std::string_view to_string(StoreType type)
{
    constexpr std::string_view names[] = {"float32", "float16", "bfloat16"};
    return names[static_cast<std::size_t>(type)];
}

double roundoff_of(StoreType type)
{
    constexpr double values[] = {float_roundoff, 0x1p-11, 0x1p-8};
    return values[static_cast<std::size_t>(type)];
}

} // namespace lava
