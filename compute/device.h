#pragma once

// What a replay may leave to a GPU: its hot loops, as functions from host memory to host memory in plain C++.

#include "compute/cuda/block.h"

#include <cstdint>
#include <functional>
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

    LAVA_HOST_DEVICE std::int64_t group() const { return num_heads / num_kv_heads; }
    LAVA_HOST_DEVICE std::int64_t entries() const { return seq_len + steps; }
    LAVA_HOST_DEVICE std::int64_t columns() const { return group() * steps; }
    LAVA_HOST_DEVICE bool sees(std::int64_t step, std::int64_t entry) const
    {
        const std::int64_t position = seq_len + step;
        return entry <= position && (sliding_window == 0 || entry > position - sliding_window);
    }
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

/// [num_kv_heads] ascending, distinct numbers of ranked entries that a head keeps.
using HeadCounts = std::vector<std::vector<std::int64_t>>;

/// Retained sets that are prefixes of one ranking.
struct CutRequest
{
    const std::uint32_t* ranking = nullptr; ///< [num_kv_heads, N]
    HeadCounts counts;
    std::vector<std::int32_t> cut_of; ///< [sets, num_kv_heads] into the head's counts
    bool wants_differences = false;
};

struct CutLosses
{
    std::int64_t most_cuts = 0; ///< of any head; a head with fewer leaves the rest unset
    std::vector<double> evicted_share; ///< [num_kv_heads, most_cuts, columns] share of the attention that is evicted
    std::vector<double> head_l1; ///< [num_kv_heads, most_cuts, columns] ||o - ô||_1
    std::vector<double> head_l2; ///< the same in L2
    std::vector<double> attn_out_l1; ///< [sets, T] ||y - ŷ||_1
    std::vector<double> attn_out_l2; ///< [sets, T]
    std::vector<float> differences; ///< [num_kv_heads, most_cuts, columns, head_dim] o - ô, where asked for
};

/// A layer's attention of the evaluation steps, from which the losses of any retained sets follow. May be used by
/// several threads at once. CPU twin: replay/losses/head_attention.h and replay/losses/output_projection.h.
class LossEngine
{
public:
    virtual ~LossEngine() = default;
    /// [num_heads, T, head_dim]: outputs with the whole cache.
    virtual std::vector<double> full_outputs() const = 0;
    virtual CutLosses losses(const CutRequest& request) const = 0;
};

/// What a window's queries attend to, fp32, contiguous.
struct WindowInputs
{
    const float* q = nullptr; ///< [num_heads, window, head_dim]: of the last positions
    const float* k = nullptr; ///< [num_kv_heads, seq_len, head_dim]
    std::int64_t num_heads = 0, num_kv_heads = 0, window = 0, seq_len = 0, head_dim = 0;
    std::int64_t sliding_window = 0; ///< positions that a query sees, up to its own; 0: all
};

/// All of them may be called by several threads at once, and throw Error where the device fails.
struct ReplayDevice
{
    std::function<std::unique_ptr<LossEngine>(const LossInputs&)> make_losses;

    /// [num_heads, seq_len]: mean over the window of the causal attention probabilities. CPU twin:
    /// replay/scores/window_means.h.
    std::function<std::vector<float>(const WindowInputs&)> window_means;

    /// [heads, count]: order of each head's values [heads, count], largest first, equal values by index; no NaN. CPU
    /// twin: descending_order() in replay/retention.h.
    std::function<std::vector<std::uint32_t>(const float* values, std::int64_t heads, std::int64_t count)>
        descending_orders;
};

/// Of "cuda"; null for "cpu", whose arithmetic is the replay's own. Throws UsageError for another name, Error where
/// there is no such device or the program was built without its kernels.
const ReplayDevice* replay_device(const std::string& name);

} // namespace lava
