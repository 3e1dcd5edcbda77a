#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lava {

/// The most steps and tokens of an answer: far above any answer, low enough that no product of sizes overflows.
constexpr std::int64_t most_steps = 1'000'000;

/// What the model does from the evicted caches of one policy (method: closed loop). S decode steps, teacher-forced with
/// the same inputs for every cell; all empty where the closed loop was not run.
struct ClosedLoopReplay
{
    std::vector<double> kl; ///< [G, S] KL(dense || evicted) of the prediction after each step, nats
    std::vector<double> cross_entropy; ///< [G, S - 1] of the next step's input
    std::vector<std::int64_t> top_ids; ///< [G, S] most likely token after each step
    std::vector<float> drift_l1; ///< [G, L, S] ||x - x̂||_1 of the residual stream after each layer
    std::vector<float> drift_l2; ///< [G, L, S]
    /// [G, F] the cell's own greedy answer; -1 behind the token that ended it; empty where none was asked for
    std::vector<std::int64_t> generated_ids;
    std::vector<std::string> generated_texts; ///< [G] their text, as ClosedLoopDense::generated_text; empty: unknown
};

/// The closed loop's numbers of the run with the whole cache, against which the cells are measured.
struct ClosedLoopDense
{
    std::vector<std::int64_t> input_ids; ///< [S] the steps' inputs; the first follows the prompt
    std::int64_t next_id = -1; ///< what the prompt itself leads to: the first token of every answer; -1: unknown
    std::vector<double> cross_entropy; ///< [S - 1]
    std::vector<std::int64_t> top_ids; ///< [S]
    std::vector<double> resid_l1; ///< [L, S] ||x||_1, which relative drift is divided by
    std::vector<double> resid_l2; ///< [L, S]
    std::vector<std::int64_t> generated_ids; ///< [F] answers have up to F tokens; F need not be S
    /// What they say, UTF-8, as transformers decodes them without special tokens; nothing where the model's folder has
    /// no tokenizer. The token that ended the answer is a part of it, unless it is a special one.
    std::optional<std::string> generated_text;

    std::vector<std::int64_t> end_ids; ///< tokens that end an answer
    std::vector<std::int64_t> token_ids; ///< every token above or in a policy's results, ascending
    std::vector<std::string> token_texts; ///< their bytes; empty where the model's folder has no tokenizer

    bool empty() const { return input_ids.empty(); }
    std::int64_t steps() const { return static_cast<std::int64_t>(input_ids.size()); }
};

struct ClosedLoopSizes
{
    std::int64_t grid = 0; ///< 1 for the dense run
    std::int64_t layers = 0;
    std::int64_t steps = 0;
    std::int64_t answer_length = 0; ///< F
};

// Writer, reader and checks of the report walk these lists, so that an array cannot be written and forgotten. `call`
// gets name, shape, values and whether they may be missing.

template <typename Dense, typename Call>
void for_each_dense_array(Dense& dense, const ClosedLoopSizes& sizes, const Call& call)
{
    using Shape = std::vector<std::int64_t>;
    call("cross_entropy", Shape{sizes.steps - 1}, dense.cross_entropy, false);
    call("top_ids", Shape{sizes.steps}, dense.top_ids, false);
    call("resid_l1", Shape{sizes.layers, sizes.steps}, dense.resid_l1, false);
    call("resid_l2", Shape{sizes.layers, sizes.steps}, dense.resid_l2, false);
    call("generated_ids", Shape{sizes.answer_length}, dense.generated_ids, true);
}

template <typename Replay, typename Call>
void for_each_array(Replay& replay, const ClosedLoopSizes& sizes, const Call& call)
{
    using Shape = std::vector<std::int64_t>;
    call("kl", Shape{sizes.grid, sizes.steps}, replay.kl, false);
    call("cross_entropy", Shape{sizes.grid, sizes.steps - 1}, replay.cross_entropy, false);
    call("top_ids", Shape{sizes.grid, sizes.steps}, replay.top_ids, false);
    call("drift_l1", Shape{sizes.grid, sizes.layers, sizes.steps}, replay.drift_l1, false);
    call("drift_l2", Shape{sizes.grid, sizes.layers, sizes.steps}, replay.drift_l2, false);
    call("generated_ids", Shape{sizes.grid, sizes.answer_length}, replay.generated_ids, true);
}

} // namespace lava
