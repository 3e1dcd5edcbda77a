#pragma once

#include "replay/division/budget_curves.h"
#include "replay/policies/parameters.h"
#include "replay/policies/wrapper.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

/// LU-KV (2026, arXiv:2602.08585) as kvpress 0.5.5 applies it: any policy's scores, the first and the last tokens above
/// them; what each head keeps is read from a file of curves, made on other texts (lava-analyze curves writes one).
class LuKv : public Wrapper
{
public:
    explicit LuKv(const PolicyParams& params)
        : Wrapper(params)
        , sinks_(params.integer("sinks"))
        , recent_(params.integer("recent"))
        , curves_(params.text("file"))
    { }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return curves_.allocate(request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {base_parameter(),
            integer_parameter("sinks", 4, 0, INT64_MAX, "first tokens that rank above all others"),
            integer_parameter("recent", 1, 0, INT64_MAX, "last tokens that do"),
            file_parameter("file", "what to evict: [99, layers, KV heads] shares for 1 % to 99 %, a NumPy .npy")};
    }

private:
    LayerScores wrap(const at::Tensor& scores) const override
    {
        auto entries = scores.clone();
        const auto n = entries.size(1);
        const auto highest = entries.max().item<float>() + 1;
        const auto recent = std::min(recent_, n);
        entries.narrow(1, 0, std::min(sinks_, n)).fill_(highest);
        entries.narrow(1, n - recent, recent).fill_(highest);
        return {entries};
    }

    std::int64_t sinks_;
    std::int64_t recent_;
    BudgetCurves curves_;
};

} // namespace lava
