// The policies that are no choice of compose's pieces: each a rule in a file of its own, or a wrapper around any
// scores.

#include "replay/policies/ada.h"
#include "replay/policies/cam.h"
#include "replay/policies/capkv.h"
#include "replay/policies/chunkkv.h"
#include "replay/policies/compactor.h"
#include "replay/policies/criticalkv.h"
#include "replay/policies/cur.h"
#include "replay/policies/defensivekv.h"
#include "replay/policies/dms.h"
#include "replay/policies/duo_attention.h"
#include "replay/policies/engine.h"
#include "replay/policies/entropy_chunkkv.h"
#include "replay/policies/expected_attention.h"
#include "replay/policies/external.h"
#include "replay/policies/full.h"
#include "replay/policies/kvpress.h"
#include "replay/policies/kvzip.h"
#include "replay/policies/lagkv.h"
#include "replay/policies/lu_kv.h"
#include "replay/policies/merging.h"
#include "replay/policies/per_layer.h"
#include "replay/policies/policy_rows.h"
#include "replay/policies/qfilter.h"
#include "replay/policies/random.h"
#include "replay/policies/simlayerkv.h"
#include "replay/policies/streaming_llm.h"

namespace lava {

namespace {

// A policy that has nothing to protect: it keeps all, or a given set.
template <typename P> PolicyInfo unprotected_row(std::string name, std::string summary, std::string citation)
{
    return {std::move(name), std::move(summary), std::move(citation), P::parameters(), {}, make<P>};
}

std::vector<VariantInfo> streaming_variants()
{
    return {variant("adakv", "as without a variant"), variant("kvcache-factory", "as without a variant"),
        variant("kvcache-factory-needle",
            "its needle runner: the 32 most recent, the rest of the budget from the start", {{"recent", "32"}}),
        kvpress<Kvpress<StreamingLlm>>()};
}

const char* const defensive_paper = "Feng et al. 2025, arXiv:2510.13334 (FFY0/DefensiveKV)";

std::vector<VariantInfo> defensive_variants()
{
    return {{"official", "the released code, which is the policy's own default", {{"bias", "prefix"}}},
        {"paper", "first stage lowered by the window's own mass", {{"bias", "window"}}}};
}

std::vector<PolicyInfo> own_rows()
{
    return {
        row<Cur>(
            "cur", "shares of squared key and value norms", "Sengupta et al. 2025, arXiv:2509.15038", {kvpress<Cur>()}),
        row<CapKv>(
            "capkv", "leverage of values, weighed by a mean query", "CapKV 2026, arXiv:2604.25975", {kvpress<CapKv>()}),
        row<EntropyChunkKv>("entropy-chunkkv", "whole chunks, of spiky ones the best tokens", "kvpress 0.5.5",
            {kvpress<EntropyChunkKv>({{"base", "snapkv@kvpress"}})}),
        row<DefensiveKv>(
            "defensivekv", "worst-case window attention x projected value norm", defensive_paper, defensive_variants()),
        row<LayerDefensiveKv>(
            "layer-defensivekv", "defensivekv, one ranking over all layers", defensive_paper, defensive_variants()),
        row<LuKv>("lu-kv", "any scores, heads by a file of curves", "LU-KV 2026, arXiv:2602.08585",
            {kvpress<LuKv>({{"base", "expected-attention@kvpress:epsilon=0.02"}})}),
        row<Merging>("merging", "evicted values folded into the kept entry of the most similar key",
            "kvpress 0.5.5; after arXiv:2406.13035"),
        row<Cam>("cam", "evicted values spread over the next kept entries", "Zhang et al. 2024, openreview LCTmppB165"),
        row<Dms>("dms", "scores of at least a threshold", "kvpress 0.5.5; after arXiv:2506.05345",
            {kvpress<Dms>({{"base", "snapkv@kvpress"}})}),
        row<Ada>("ada", "any scores; the heads of a layer share its budget, each with a safeguard",
            "Feng et al. 2024, arXiv:2407.11550; kvpress", {kvpress<Ada>({{"base", "snapkv@kvpress"}})}),
        row<CriticalKv>("criticalkv", "any scores, then times the projected value norm",
            "Feng et al. 2025, arXiv:2502.03805", {kvpress<CriticalKv>({{"base", "snapkv@kvpress"}})}),
        row<CriticalAda>("critical-ada", "criticalkv, heads of a layer share its budget as in ada",
            "Feng et al. 2025, arXiv:2502.03805", {kvpress<CriticalAda>({{"base", "snapkv@kvpress"}})}),
        row<LagKv>("lagkv", "keys and values that spread in the units of the next partition",
            "Liang et al. 2025, arXiv:2504.04704", {kvpress<LagKv>()}),
        row<ExpectedAttention>("expected-attention", "what queries to come are expected to attend to",
            "Devoto et al. 2025, arXiv:2510.00636", {kvpress<ExpectedAttention>()}),
        row<DuoAttention>("duo-attention", "heads of low score keep first and recent tokens, the others all",
            "Xiao et al. 2024, arXiv:2410.10819", {kvpress<DuoAttention>()}),
        row<SimLayerKv>("simlayerkv", "lazy layers keep first and recent tokens, the others all",
            "Zhang et al. 2024, arXiv:2410.13846", {kvpress<SimLayerKv>({{"threshold", "1"}})}),
        row<ChunkKv>("chunkkv", "whole chunks by the mean of any scores", "Liu et al. 2025, arXiv:2502.00299",
            {kvpress<ChunkKv>({{"base", "snapkv@kvpress"}})}),
        row<ChunkWise>(
            "chunk", "any scores of keys and values, each chunk by itself", "kvpress 0.5.5", {kvpress<ChunkWise>()}),
        row<PerLayer>("per-layer", "any scores, a ratio from a file for every layer", "kvpress 0.5.5",
            {kvpress<PerLayer>({{"base", "snapkv@kvpress"}})}),
        row<QFilter>("qfilter", "keys against a direction learned for the model", "Godey et al. 2025, arXiv:2503.02812",
            {kvpress<QFilter>()}),
        row<LeverageScore>("leverage", "keys that the others do not span", "Chari et al. 2025, arXiv:2507.08143",
            {kvpress<LeverageScore>()}),
        row<NonCausal>("noncausal", "attention of all queries of a chunk, not causal, x value norm",
            "Chari et al. 2025, arXiv:2507.08143", {kvpress<NonCausal>()}),
        row<Compactor>(
            "compactor", "leverage and noncausal", "Chari et al. 2025, arXiv:2507.08143", {kvpress<Compactor>()}),
        row<KvZip>("kvzip", "what the model attends to while it repeats the prompt, over all layers",
            "Kim et al. 2025, arXiv:2505.23416", {kvpress<KvZip>()}),
        row<Engine>("engine", "any policy's choice, as blocks that heads share can hold it", "paged KV caches"),
        unprotected_row<External>("external", "a retained set from a file", "JSON of lava-analyze retained"),
    };
}

} // namespace

std::vector<PolicyInfo> baseline_policies()
{
    return {
        unprotected_row<Full>("full", "evicts nothing", "reference: loss 0"),
        row<Random>("random", "window, and random entries", "baseline",
            {kvpress<Kvpress<Random>>({{"window", "0"}, {"generator", "torch"}})}),
        row<StreamingLlm>("streaming-llm", "first tokens and the most recent", "Xiao et al. 2024, arXiv:2309.17453",
            streaming_variants()),
    };
}

std::vector<PolicyInfo> own_policies()
{
    auto rows = own_rows();
    for (auto& info : rows) {
        info = by_name_only(std::move(info));
    }
    return rows;
}

} // namespace lava
