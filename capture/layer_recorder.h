#pragma once

#include "capture/query_statistics.h"
#include "model/decoder.h"
#include "traces/layer_view.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Keys and values of one layer, with room for all tokens from the beginning.
class LayerCache
{
public:
    /// [num_kv_heads, capacity, head_dim] in the dtype and on the device of `like`.
    LayerCache(const ModelShape& shape, std::int64_t capacity, const at::Tensor& like);

    void append(const at::Tensor& k, const at::Tensor& v); ///< [num_kv_heads, n, head_dim]
    std::int64_t length() const { return length_; }
    at::Tensor k(std::int64_t begin, std::int64_t end) const; ///< a view, [num_kv_heads, end - begin, head_dim]
    at::Tensor v(std::int64_t begin, std::int64_t end) const;

private:
    at::Tensor k_, v_;
    std::int64_t length_ = 0;
};

/// Records a layer's pass over the prompt, chunk by chunk: the last `window` queries, the column sums, the queries'
/// statistics.
class PromptRecorder : public Observer
{
public:
    PromptRecorder(std::int64_t seq_len, std::int64_t window);

    void on(std::string_view name, std::int64_t layer, const at::Tensor& value) override;
    bool wants(std::string_view name) const override;
    /// Adds the attention's column sums of the chunk's queries over all positions so far, float32 [num_heads,
    /// positions].
    void add_sums(const at::Tensor& all, const at::Tensor& off_diagonal);
    void fill(LayerView& view) const;

private:
    std::int64_t seq_len_, window_, seen_ = 0;
    std::vector<at::Tensor> window_rows_; ///< pieces of q_window
    at::Tensor all_, off_diagonal_; ///< [num_heads, seq_len] float64 on the CPU
    QueryStatistics statistics_;
};

/// Records a layer's evaluation steps, in one call or many: their queries and the residual stream.
class StepRecorder : public Observer
{
public:
    void on(std::string_view name, std::int64_t layer, const at::Tensor& value) override;
    bool wants(std::string_view name) const override;
    void fill(LayerView& view) const;

private:
    std::map<std::string, std::vector<at::Tensor>, std::less<>> pieces_;
};

} // namespace lava
