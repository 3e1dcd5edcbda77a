#pragma once

#include "compute/device.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lava {

/// Attention of a layer's evaluation steps to one KV head. Columns are (query head of the group, step):
/// column = head_in_group * T + step. Entries are the prompt's N, then the T decode entries.
struct HeadAttention
{
    std::int64_t prompt = 0; ///< N
    std::int64_t sliding_window = 0; ///< positions that a step sees, up to its own; 0: all
    std::int64_t steps = 0; ///< T
    std::int64_t columns = 0;
    std::int64_t column_stride = 0; ///< columns, padded
    std::int64_t head_dim = 0;
    std::int64_t dim = 0; ///< head_dim, padded
    /// [N + T, column_stride] fp32: exp(logit - column maximum), 0 where the step does not see the entry
    at::Tensor weights;
    at::Tensor values; ///< [N, dim]
    at::Tensor decode_values; ///< [T, dim]
    at::Tensor keys; ///< [N, head_dim]
    at::Tensor decode_keys; ///< [T, head_dim]
    at::Tensor queries; ///< [columns, head_dim]

    /// First of the entries that a step sees.
    std::int64_t first_seen_by(std::int64_t step) const
    {
        const auto past = prompt + step + 1 - sliding_window;
        return sliding_window == 0 || past < 0 ? 0 : past;
    }
};

/// What `inputs` points to must outlive the result.
HeadAttention attend_head(const LossInputs& inputs, std::int64_t kv_head);

/// [columns, dim]: outputs with the whole cache.
std::vector<double> full_output(const HeadAttention& head);

/// What evicting does to one KV head's outputs, at every cut of one ranking. One pass over the ranking sums each
/// segment between cuts; then the cuts are visited from the last to the first, so that evicted sums grow from the
/// lowest rank up. Segments are summed in fp32, over segments in double.
class EvictionSweep
{
public:
    /// ranking: [N]; counts: ascending and distinct, the first counts[i] entries are kept at cut i. Decode entries
    /// always are. All must outlive this.
    EvictionSweep(
        const HeadAttention& head, std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts);

    /// Goes to the last cut, then to the one before it; at most counts.size() times.
    void advance();

    /// [columns]: share of the attention that is evicted at this cut.
    std::span<const double> evicted_share() const { return evicted_share_; }

    /// Writes o - ô of column c to rows[c] [dim] and its norms to l1 and l2 [columns].
    void differences(float* const* rows, double* l1, double* l2);

private:
    void sum_segments();
    void set_masses();
    double kept_mass(std::size_t column) const;
    std::vector<double> kept_output(std::int64_t column) const;
    void careful_difference(std::int64_t column, float* row, double& l1, double& l2) const;

    const HeadAttention& head_;
    std::span<const std::uint32_t> ranking_;
    std::span<const std::int64_t> counts_;
    std::size_t cut_; // counts_.size() before the first advance()
    std::unique_ptr<float[]> sums_; // [cuts + 1, columns, dim]: of each segment, decode entries in the first
    std::vector<double> masses_; // [cuts + 1, columns]
    std::vector<double> kept_masses_; // [cuts + 1, columns]: of each segment and those before it
    std::vector<double> full_; // [columns, dim] outputs with the whole cache
    std::vector<double> evicted_; // [columns, dim]
    bool is_summed_ = false; // evicted_ has reached this cut
    std::vector<double> evicted_mass_, inverse_kept_, mass_ratio_, evicted_share_; // [columns]
    std::vector<std::int64_t> careful_; // columns whose kept mass vanishes beside the whole
};

} // namespace lava
