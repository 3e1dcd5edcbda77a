#pragma once

#include "base/error.h"
#include "base/formatted.h"
#include "replay/division/allocation.h"
#include "replay/policies/wrapper.h"
#include "replay/scores/entropy_chunks.h"

namespace lava {

/// Entropy-gated ChunkKV (kvpress 0.5.5; ChunkKV: Liu et al. 2025, arXiv:2502.00299): chunks of tokens by their mean
/// score, the same for all heads of a layer; of a chunk whose score comes from a few tokens only those stay, and what
/// that frees goes to other chunks. Any budget keeps a prefix of one order.
class EntropyChunkKv : public Wrapper
{
public:
    explicit EntropyChunkKv(const PolicyParams& params)
        : Wrapper(params)
        , chunk_(params.integer("chunk"))
        , spiky_(params.integer("spiky"))
    {
        if (spiky_ >= chunk_) {
            throw UsageError(formatted(
                "entropy-chunkkv: spiky: expected less than the chunk's {} tokens, found {}", chunk_, spiky_));
        }
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {base_parameter(), integer_parameter("chunk", 10, 2, INT64_MAX, "tokens of a chunk"),
            integer_parameter("spiky", 4, 1, INT64_MAX, "tokens that stay of an important chunk of low entropy")};
    }

private:
    LayerScores wrap(const at::Tensor& scores) const override { return {entropy_gated_order(scores, chunk_, spiky_)}; }

    std::int64_t chunk_;
    std::int64_t spiky_;
};

} // namespace lava
