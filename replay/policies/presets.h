#pragma once

#include "replay/policies/compose.h"

namespace lava {

/// Named policies as compositions: what of them is fixed, and the parameters that may differ.
template <Composition (*fixed)(), std::vector<ParameterInfo> (*declared)()> class Preset : public Composed
{
public:
    explicit Preset(const PolicyParams& params)
        : Composed(read(params))
    { }

    static std::vector<ParameterInfo> parameters() { return declared(); }

private:
    static Composition read(const PolicyParams& params)
    {
        auto composition = fixed();
        read_parameters(composition, params);
        return composition;
    }
};

// What is fixed, and what may differ.
namespace preset {

Composition snapkv();
Composition pyramidkv();
Composition ada_snapkv();
Composition ada_pyramidkv();
Composition h2o();
Composition tova();
Composition cake();
Composition lava();
Composition lava_uniform();
Composition lava_pyramid();
Composition lava_nohead();
Composition loo();
Composition dropkv();

std::vector<ParameterInfo> snapkv_parameters();
std::vector<ParameterInfo> pyramidkv_parameters();
std::vector<ParameterInfo> ada_snapkv_parameters();
std::vector<ParameterInfo> ada_pyramidkv_parameters();
std::vector<ParameterInfo> h2o_parameters();
std::vector<ParameterInfo> cake_parameters();
std::vector<ParameterInfo> lava_parameters();
std::vector<ParameterInfo> lava_pyramid_parameters();
std::vector<ParameterInfo> lava_nohead_parameters();
std::vector<ParameterInfo> loo_parameters();

} // namespace preset

/// SnapKV (Li et al. 2024, arXiv:2404.14469): every head keeps the entries that the last queries attend to most.
using SnapKv = Preset<preset::snapkv, preset::snapkv_parameters>;

/// PyramidKV (Cai et al. 2024, arXiv:2406.02069): SnapKV's scores, more entries in the lower layers. The integer
/// schedule is AdaKV's and LAVa's code, computed for this trace's length; its floored step grants more than asked.
using PyramidKv = Preset<preset::pyramidkv, preset::pyramidkv_parameters>;

/// AdaKV (Feng et al. 2024, arXiv:2407.11550): SnapKV's scores; the heads of a layer share its budget by where the
/// layer's best scores fall, each with a floor of alpha. Layers alike, or as PyramidKV.
using AdaSnapKv = Preset<preset::ada_snapkv, preset::ada_snapkv_parameters>;
using AdaPyramidKv = Preset<preset::ada_pyramidkv, preset::ada_pyramidkv_parameters>;

/// VATP (Guo et al. 2024, arXiv:2406.12335) in the form of the LAVa paper's Table 4: the window's attention, pooled per
/// query head, times each value's L1 norm, then reduced over the group.
/// @official: the column sums of all queries instead, the first 20 tokens and half of the budget for the most recent.
/// @official-scissorhands: the mean of the last 400 queries (of all, in a shorter prompt), the last 10 tokens stay.
class Vatp : public Composed
{
public:
    explicit Vatp(const PolicyParams& params);

    static std::vector<ParameterInfo> parameters();
};

/// H2O (Zhang et al. 2023, arXiv:2306.14048) as a prefill policy: entries that all the prompt's queries attended to
/// most (heavy hitters), and the most recent ones.
using H2O = Preset<preset::h2o, preset::h2o_parameters>;

/// TOVA (Oren et al. 2024, arXiv:2401.06104) as a prefill policy: what the last token attends to, averaged over all
/// heads of the layer (or over each KV head's own group, as LAVa's Eq. 19 has it); the last token stays.
class Tova : public Composed
{
public:
    explicit Tova(const PolicyParams& params);

    static std::vector<ParameterInfo> parameters();
};

/// CAKE (Qin et al. 2025, arXiv:2503.12491), the prefill part of cakekv: entries by mean plus gamma times variance of
/// the window's attention; layers share by attention entropy times temporal variance, cut again as layers arrive.
using Cake = Preset<preset::cake, preset::cake_parameters>;

/// LAVa (Shen et al., Findings of EMNLP 2025, pp. 13672-13692): the window's attention times the KV head's largest
/// value norm (Eq. 5), the group's query heads reduced by max; layers share the budget by score entropy, the heads of a
/// layer by where its best scores fall. The paper's text by default; @official is the released code (MGDDestiny/Lava),
/// whose floor is alpha of the whole nominal budget, window included, in every layer, and whose norm leaves the window
/// out. Where a layer is granted more than exists the released code crashes; here it keeps all.
using Lava = Preset<preset::lava, preset::lava_parameters>;
using LavaUniform = Preset<preset::lava_uniform, preset::lava_parameters>;
using LavaPyramid = Preset<preset::lava_pyramid, preset::lava_pyramid_parameters>;
using LavaNoHead = Preset<preset::lava_nohead, preset::lava_nohead_parameters>;

/// What evicting an entry alone changes in the residual stream, exactly: one step of backward elimination of the
/// layer's attention output loss.
using Loo = Preset<preset::loo, preset::loo_parameters>;

/// DropKV (2026, openreview MqfNzH3TVH): the same for each query head's own output, or (project=wo) what that head
/// writes into the residual stream.
class DropKv : public Composed
{
public:
    explicit DropKv(const PolicyParams& params);

    static std::vector<ParameterInfo> parameters();
};

} // namespace lava
