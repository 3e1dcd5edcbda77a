#include "capture/layer_recorder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

namespace lava {

namespace {

/// Where the pieces of the evaluation steps go, and along which dimension their tokens lie.
struct StepTensor
{
    std::string_view name;
    at::Tensor LayerView::*member;
    std::int64_t token_dim;
};

constexpr std::array<StepTensor, 5> step_tensors{{
    {"q", &LayerView::q_eval, 1},
    {"resid_pre", &LayerView::resid_pre, 0},
    {"attn_out", &LayerView::attn_out, 0},
    {"resid_mid", &LayerView::resid_mid, 0},
    {"mlp_out", &LayerView::mlp_out, 0},
}};

void add_columns(at::Tensor& total, std::int64_t seq_len, const at::Tensor& sums)
{
    if (!total.defined()) {
        total = at::zeros({sums.size(0), seq_len}, at::kDouble);
    }
    total.narrow(1, 0, sums.size(1)).add_(sums.cpu());
}

} // namespace

LayerCache::LayerCache(const ModelShape& shape, std::int64_t capacity, const at::Tensor& like)
    : k_(at::empty({shape.num_kv_heads, capacity, shape.head_dim}, like.options()))
    , v_(at::empty_like(k_))
{ }

void LayerCache::append(const at::Tensor& k, const at::Tensor& v)
{
    k_.narrow(1, length_, k.size(1)).copy_(k);
    v_.narrow(1, length_, v.size(1)).copy_(v);
    length_ += k.size(1);
}

at::Tensor LayerCache::k(std::int64_t begin, std::int64_t end) const
{
    return k_.narrow(1, begin, end - begin);
}

at::Tensor LayerCache::v(std::int64_t begin, std::int64_t end) const
{
    return v_.narrow(1, begin, end - begin);
}

PromptRecorder::PromptRecorder(std::int64_t seq_len, std::int64_t window)
    : seq_len_(seq_len)
    , window_(window)
{ }

bool PromptRecorder::wants(std::string_view name) const
{
    return name == "q" || name == "q_pre_rope";
}

void PromptRecorder::on(std::string_view name, std::int64_t, const at::Tensor& value)
{
    if (name == "q_pre_rope") {
        statistics_.add(value);
    } else if (name == "q") {
        const std::int64_t end = seen_ + value.size(1), begin = std::max(seen_, seq_len_ - window_);
        if (begin < end) { // clones: the decoder may reuse its tensors
            window_rows_.push_back(value.narrow(1, begin - seen_, end - begin).clone());
        }
        seen_ = end;
    }
}

void PromptRecorder::add_sums(const at::Tensor& all, const at::Tensor& off_diagonal)
{
    add_columns(all_, seq_len_, all);
    add_columns(off_diagonal_, seq_len_, off_diagonal);
}

void PromptRecorder::fill(LayerView& view) const
{
    view.q_window = at::cat(window_rows_, 1);
    view.observed_attention = all_.to(at::kFloat);
    view.observed_attention_off_diagonal = off_diagonal_.to(at::kFloat);
    const MeanAndCovariance queries = statistics_.result();
    view.q_pre_rope_mean = queries.mean;
    view.q_pre_rope_cov = queries.covariance;
}

bool StepRecorder::wants(std::string_view name) const
{
    return std::any_of(
        step_tensors.begin(), step_tensors.end(), [name](const StepTensor& tensor) { return tensor.name == name; });
}

void StepRecorder::on(std::string_view name, std::int64_t, const at::Tensor& value)
{
    if (wants(name)) {
        pieces_[std::string(name)].push_back(value.clone());
    }
}

void StepRecorder::fill(LayerView& view) const
{
    for (const StepTensor& tensor : step_tensors) {
        const auto pieces = pieces_.find(tensor.name);
        if (pieces != pieces_.end()) {
            view.*tensor.member = at::cat(pieces->second, tensor.token_dim);
        }
    }
}

} // namespace lava
