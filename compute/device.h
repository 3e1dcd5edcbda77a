#pragma once

// What a replay leaves to a device: its hot loops, from host memory to host memory in plain C++.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lava {

/// Sizes of a layer's losses. Entries of a KV head are the prompt's N, then the T decode entries; columns are (query
/// head of the group, step): column = head_in_group * T + step.
struct LossSizes
{
    std::int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, hidden_size = 0;
    std::int64_t seq_len = 0; ///< N
    std::int64_t steps = 0; ///< T
    std::int64_t sliding_window = 0; ///< positions that a step sees, up to its own; 0: all

    std::int64_t group() const { return num_heads / num_kv_heads; }
    std::int64_t columns() const { return group() * steps; }
};

/// A layer on the host, fp32, contiguous.
struct LossInputs
{
    LossSizes sizes;
    const float* k = nullptr; ///< [num_kv_heads, N, head_dim]
    const float* v = nullptr; ///< [num_kv_heads, N, head_dim]
    const float* k_eval = nullptr; ///< [num_kv_heads, T, head_dim]
    const float* v_eval = nullptr; ///< [num_kv_heads, T, head_dim]
    const float* q_eval = nullptr; ///< [num_heads, T, head_dim]
    const float* w_o = nullptr; ///< [hidden_size, num_heads * head_dim]
};

/// [sets][num_kv_heads] numbers of ranked entries that each head keeps.
using SetCounts = std::vector<std::vector<std::int64_t>>;

/// Retained sets that are prefixes of one ranking.
struct SetRequest
{
    const std::uint32_t* ranking = nullptr; ///< [num_kv_heads, N], every position once per head
    SetCounts sets;
    bool wants_differences = false;
};

struct SetLosses
{
    std::vector<double> evicted_share; ///< [sets, num_heads, T] share of the attention that is evicted
    std::vector<float> head_output_l1; ///< [sets, num_heads, T] ||o - ô||_1
    std::vector<float> head_output_l2; ///< [sets, num_heads, T] ||o - ô||_2
    std::vector<double> attn_out_l1; ///< [sets, T] ||y - ŷ||_1
    std::vector<double> attn_out_l2; ///< [sets, T]
    /// o - ô where asked for: head_dim floats of a set's step and a head at (set * T + step) * row_stride + head *
    /// head_stride
    std::unique_ptr<float[]> differences;
    std::int64_t row_stride = 0, head_stride = 0;
};

/// A layer's attention of the evaluation steps on a device, from which the losses of any retained sets follow. May be
/// used by several threads at once.
class LayerEngine
{
public:
    virtual ~LayerEngine() = default;
    /// [num_heads, T, head_dim]: outputs with the whole cache.
    virtual std::vector<double> full_outputs() const = 0;
    virtual SetLosses losses(const SetRequest& request) const = 0;
};

/// What a window's queries attend to, fp32, contiguous.
struct WindowInputs
{
    const float* q = nullptr; ///< [num_heads, window, head_dim]: of the last positions
    const float* k = nullptr; ///< [num_kv_heads, seq_len, head_dim]
    std::int64_t num_heads = 0, num_kv_heads = 0, window = 0, seq_len = 0, head_dim = 0;
    std::int64_t sliding_window = 0; ///< positions that a query sees, up to its own; 0: all
};

/// Where a replay's hot loops run. Every function may be called by several threads at once, spreads its work over
/// `threads` of the host where it needs them, and throws Error where the device fails.
class Device
{
public:
    virtual ~Device() = default;

    /// What `inputs` points to must outlive the result.
    virtual std::unique_ptr<LayerEngine> attend(const LossInputs& inputs, int threads) const = 0;

    /// means [num_heads, seq_len - window]: mean over the window of the causal attention probabilities, without the
    /// window's own columns.
    virtual void window_means(const WindowInputs& inputs, int threads, float* means) const = 0;

    /// orders [heads, count]: order of each head's values [heads, count], largest first, equal values by index; no NaN.
    virtual void descending_orders(
        const float* values, std::int64_t heads, std::int64_t count, std::uint32_t* orders) const = 0;
};

/// This processor.
const Device& cpu_device();

/// "cpu" or "cuda". Throws UsageError for another name, Error where there is no such device or the program was built
/// without its kernels.
const Device& device_of(const std::string& name);

} // namespace lava
