#pragma once

#include <vector>

namespace lava {

/// Every loss, declared once, whatever there is of each: an array, or a number. analysis/quantities.h lists them.
/// A and Â are normalised; y is the attention output that is added to the residual stream, x the stream after the
/// layer (method: section 2, points 1-4).
template <typename Head, typename Layer = Head> struct Losses
{
    Head head_l1{}; ///< ||A - Â||_1
    Head head_output_l1{}; ///< ||(A - Â) V||_1
    Head head_output_l2{};
    Layer attn_out_l1{}; ///< ||y - ŷ||_1
    Layer attn_out_l2{};
    Layer bound_lava{}; ///< bound_*: upper bounds of attn_out_l1, not for policies that change values
    Layer bound_adakv{};
    Layer bound_projected{};
    Layer layer_out_l1{}; ///< ||x - x̂||_1, where the model was there
    Layer layer_out_l2{};
};

using LossFields = Losses<std::vector<float>, std::vector<double>>;
using LossNumbers = Losses<double>;

/// Per evaluation step, absolute: [..., Hq, T] of heads, [..., T] of a layer, after the dimensions that the owner
/// names. Empty where there is none.
struct LossArrays : LossFields
{ };

/// Norms of the uncompressed quantities, which relative losses are divided by: of attn_out_l1 ||y||_1, b_o included,
/// and so on. Empty for head_l1 and the bounds, which have none.
struct UncompressedNorms : LossFields
{ };

/// Losses of a run, a layer or a head (method: section 3.2): means over steps (of a run: and layers; head_* losses: and
/// query heads). NaN is what the report or the policy does not have, such as bounds where a policy changes values.
struct LossSummary : LossNumbers
{
    /// Ratios of sums: of a loss over its norm; of a bound, its tightness: attn_out_l1 over it, 1 where both are 0.
    LossNumbers ratio;
};

} // namespace lava
