#pragma once

#include "base/error.h"
#include "replay/division/allocation_kvpress.h"
#include "replay/policies/uniform.h"
#include "replay/scores/padding.h"
#include "replay/scores/scoring.h"

#include <ATen/ATen.h>

namespace lava {

/// A policy's scores the way kvpress 0.5.5 ranks them (its ScorerPress): the window is not set apart but gets the
/// layer's largest score + 1, so that a budget below it is possible; every head keeps its best `budget` entries.
template <typename P> class Kvpress : public UniformPolicy
{
public:
    explicit Kvpress(const PolicyParams& params)
        : scorer_(params)
    { }

    std::int64_t query_rows() const override { return scorer_.query_rows(); }
    PolicyNeeds needs() const override { return scorer_.needs(); }
    bool per_query_head() const override { return scorer_.per_query_head(); }

    LayerScores score(const LayerInputs& layer) const override
    {
        return {padded_on_top(scorer_.score(layer).entries, 0, scorer_.window())};
    }

protected:
    const P& scorer() const { return scorer_; }

private:
    P scorer_;
};

/// ObservedAttentionPress: the mean over the queries that see a token, instead of their sum.
template <typename P> class KvpressObserved : public Kvpress<P>
{
public:
    using Kvpress<P>::Kvpress;

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto sums = this->scorer().score(layer).entries;
        const auto seen_by = layer.seq_len() - at::arange(sums.size(1), at::kFloat); // by itself and all behind it
        return {padded_on_top(sums / seen_by, 0, layer.seq_len() - sums.size(1))};
    }
};

/// PyramidKVPress: the same scores, a schedule of its own.
template <typename P> class KvpressPyramid : public Kvpress<P>
{
public:
    explicit KvpressPyramid(const PolicyParams& params)
        : Kvpress<P>(params)
        , window_(params.integer("window"))
        , beta_(params.integer("beta"))
    { }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(kvpress_pyramid(request, window_, beta_), request);
    }

private:
    std::int64_t window_;
    std::int64_t beta_;
};

/// AdaKVPress: the layer's best entries in whatever head, at least a share alpha of the budget in each.
template <typename P> class KvpressAdaptive : public Kvpress<P>
{
public:
    explicit KvpressAdaptive(const PolicyParams& params)
        : Kvpress<P>(params)
        , alpha_(params.real("floor"))
    {
        if (params.is_on("normalize")) {
            throw UsageError("normalize: expected off, as kvpress's variant has no such step");
        }
    }

    bool compares_heads() const override { return true; }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        return safeguarded_heads(layers, request, alpha_);
    }

private:
    double alpha_;
};

} // namespace lava
