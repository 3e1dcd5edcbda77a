#pragma once

#include "model/decoder.h"
#include "replay/closed_loop/answer_rule.h"
#include "traces/trace.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace lava {

/// What a row of the batch keeps of the prompt, in every layer: per head a prefix of a ranking.
struct RetainedPrompt
{
    std::span<const std::uint32_t> ranking; ///< [num_layers, cache heads, seq_len]; rows that share it lie together
    std::span<const std::int64_t> counts; ///< [num_layers, cache heads]
    std::int64_t cache_heads = 0; ///< of a layer: KV heads, or query heads where each keeps a cache of its own
};

/// Rows that go through the model together, all their steps at once.
struct Tile
{
    std::int64_t first = 0;
    std::int64_t rows = 0;
};

/// Rows whose answers are decoded side by side, and the bytes that their keys and values take at most.
struct AnswerMemory
{
    std::int64_t rows = 0;
    double bytes = 0;
};
AnswerMemory answer_memory(const ModelShape& shape, std::int64_t rows, std::int64_t steps);

/// Rows decode with a model, each from its own evicted cache of one recorded prompt. They share the model's weights and
/// the recorded keys and values, which are read where they lie.
class DecodeBatch
{
public:
    /// `trace`, `decoder` and what `rows` refer to must outlive this. Positions of the steps start at `first_position`.
    DecodeBatch(const Trace& trace, const Decoder& decoder, std::vector<RetainedPrompt> rows,
        std::int64_t first_position, int threads);

    /// Sees the residual stream of one tile after a layer, [rows * steps, hidden_size]; called from any thread.
    using Visit = std::function<void(const Tile& tile, std::int64_t layer, const at::Tensor& resid_post)>;

    /// Runs known inputs, ids [steps], the same for all rows: layer by layer over all steps, whose order does not
    /// matter as no input depends on an output. The first row, whose ranking is its own, goes through each layer before
    /// the others, which may be compared with it. `progress` is called once per layer.
    void run(std::span<const std::int64_t> ids, const Visit& visit, const std::function<void()>& progress) const;

    /// Runs step by step: inputs are `forced`, the same for all rows, then each row's own most likely token. Returns
    /// the most likely token after each step, [rows, steps]. A row whose token is one of `stop` takes no further step:
    /// -1 stands behind it. Rows are run in as many turns as answer_memory() has them; `progress` is called once per
    /// turn and step.
    std::vector<std::int64_t> generate(std::span<const std::int64_t> forced, std::int64_t steps, const StopRule& stop,
        const std::function<void()>& progress) const;
    /// How often generate() calls `progress`.
    std::int64_t generate_progress(std::int64_t steps) const;

private:
    struct Layer;
    struct TileState;
    struct Turn;
    struct Generation;

    using Rows = std::vector<std::int64_t>; ///< numbers of rows, ascending

    std::vector<Tile> rankings(std::span<const std::int64_t> rows) const; ///< those of `rows` that share one
    std::vector<Tile> tiles(std::int64_t steps) const; ///< of one ranking each
    std::vector<Tile> tiles_of_any_ranking(std::span<const std::int64_t> rows) const;
    std::vector<Tile> turns(std::int64_t steps) const;
    Rope rope_of(std::int64_t rows, std::int64_t seen, std::int64_t steps) const;
    void run_layer(const Layer& layer, TileState& state, std::int64_t seen, std::int64_t steps) const;

    Turn begin_turn(const Tile& rows, std::int64_t steps) const;
    void begin_step(TileState& state, std::int64_t step, const Generation& generation) const;
    void end_step(const TileState& state, std::int64_t step, Generation& generation) const;
    /// One step of all rows of a turn that go on.
    void take_step(Turn& turn, std::int64_t step, Generation& generation) const;
    void for_all_tiles(std::vector<TileState>& tiles, const std::function<void(TileState&)>& work) const;

    const Trace& trace_;
    const Decoder& decoder_;
    std::vector<RetainedPrompt> rows_;
    std::int64_t first_position_;
    int threads_;
};

} // namespace lava
