#include "replay/closed_loop/decode_batch.h"

#include "base/sizes.h"
#include "compute/linear.h"
#include "compute/parallel.h"
#include "replay/closed_loop/prefix_attention.h"
#include "replay/layer_stream.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>

namespace lava {

namespace {

constexpr std::int64_t tokens_at_once = 768; // in a tile that runs over known inputs
constexpr std::int64_t rows_at_once = 256; // in a tile that runs step by step
constexpr double decode_bytes_at_once = 256e6; // keys and values of a tile that runs step by step
constexpr double prompt_bytes_at_once = 1e9; // keys and values of the prompt, where layers are not read at every step
constexpr std::int64_t panel = 512; // columns of the vocabulary whose logits are held at once

/// Rows in equal parts of at most `largest`.
void divide(const Tile& whole, std::int64_t largest, std::vector<Tile>& tiles)
{
    const auto parts = ceil_divide(whole.rows, largest);
    for (std::int64_t part = 0; part < parts; ++part) {
        const auto first = whole.rows * part / parts;
        tiles.push_back({whole.first + first, whole.rows * (part + 1) / parts - first});
    }
}

/// Bytes of the keys and values of so many entries in every head of every layer.
double cache_bytes(const ModelShape& shape, std::int64_t entries)
{
    return 8.0 * static_cast<double>(shape.num_layers * shape.num_kv_heads * shape.head_dim)
        * static_cast<double>(entries);
}

/// [tokens]: of each row, the most likely token; the first of equal ones. Logits are made in panels of the vocabulary.
std::vector<std::int64_t> most_likely(const at::Tensor& normalized, const Decoder& decoder)
{
    const auto vocab = decoder.config().vocab_size;
    const auto tokens = normalized.size(0);
    std::vector<float> best(index(tokens), -std::numeric_limits<float>::infinity());
    std::vector<std::int64_t> ids(index(tokens));
    for (std::int64_t first = 0; first < vocab; first += panel) {
        const auto width = std::min(panel, vocab - first);
        const auto logits = project(normalized, decoder.lm_head(first, width));
        const auto largest = logits.amax(1);
        for (std::int64_t token = 0; token < tokens; ++token) {
            const auto top = largest.const_data_ptr<float>()[token];
            if (top <= best[index(token)])
                continue;
            best[index(token)] = top;
            const auto* row = logits.const_data_ptr<float>() + token * width;
            ids[index(token)] = first + (std::find(row, row + width, top) - row);
        }
    }
    return ids;
}

} // namespace

struct DecodeBatch::Layer
{
    std::int64_t layer = 0;
    at::Tensor k, v; // [num_kv_heads, seq_len, head_dim]
    std::int64_t sliding_window = 0; // 0: none

    static Layer of(const LayerView& view) { return {view.layer, view.k, view.v, view.sliding_window}; }
};

/// A tile on its way through the model.
struct DecodeBatch::TileState
{
    at::Tensor resid; // [rows * steps, hidden_size]
    Rope rope; // rotation of the steps under way
    // Decode entries of steps that are done, per layer [num_kv_heads, rows, capacity, head_dim]; empty where all steps
    // are run at once.
    std::vector<at::Tensor> k, v;
};

DecodeBatch::DecodeBatch(const Trace& trace, const Decoder& decoder, std::vector<RetainedPrompt> rows,
    std::int64_t first_position, int threads)
    : trace_(trace)
    , decoder_(decoder)
    , rows_(std::move(rows))
    , first_position_(first_position)
    , threads_(threads)
{ }

std::vector<Tile> DecodeBatch::rankings() const
{
    std::vector<Tile> result;
    for (std::int64_t row = 0; row < std::ssize(rows_); ++row) {
        if (row == 0 || rows_[index(row)].ranking.data() != rows_[index(row - 1)].ranking.data())
            result.push_back({row, 0});
        ++result.back().rows;
    }
    return result;
}

std::vector<Tile> DecodeBatch::tiles(std::int64_t steps) const
{
    std::vector<Tile> result;
    for (const auto& ranking : rankings())
        divide(ranking, std::max<std::int64_t>(1, tokens_at_once / steps), result);
    return result;
}

std::vector<Tile> DecodeBatch::tiles_of_any_ranking(std::int64_t steps) const
{
    const auto fitting = static_cast<std::int64_t>(decode_bytes_at_once / cache_bytes(trace_.info().shape, steps));
    const auto largest = std::clamp<std::int64_t>(fitting, 1, rows_at_once);
    std::vector<Tile> pieces;
    for (const auto& ranking : rankings())
        divide(ranking, largest, pieces);
    const auto parts = ceil_divide(std::ssize(rows_), largest);
    const auto alike = ceil_divide(std::ssize(rows_), parts); // rows of each, were all alike
    std::vector<Tile> result;
    for (const auto& piece : pieces) { // whole, as its rows share the gathering of entries
        const auto begun = std::ssize(result) * alike;
        if (result.empty() || piece.first + piece.rows / 2 >= begun || result.back().rows + piece.rows > largest)
            result.push_back({piece.first, 0});
        result.back().rows += piece.rows;
    }
    return result;
}

Rope DecodeBatch::rope_of(std::int64_t rows, std::int64_t seen, std::int64_t steps) const
{
    std::vector<at::Tensor> cos, sin;
    for (auto position = first_position_ + seen; position < first_position_ + seen + steps; ++position) {
        // each by itself: some embeddings depend on how many tokens there are
        const auto rope = decoder_.rope_at(at::full({1}, position, at::kLong), position + 1);
        cos.push_back(rope.cos);
        sin.push_back(rope.sin);
    }
    return {at::cat(cos).repeat({rows, 1}), at::cat(sin).repeat({rows, 1})};
}

void DecodeBatch::run_layer(
    const Layer& layer, const Tile& tile, TileState& state, std::int64_t seen, std::int64_t steps) const
{
    const auto& shape = trace_.info().shape;
    const PromptCache prompt{layer.k.const_data_ptr<float>(), layer.v.const_data_ptr<float>(), shape.num_heads,
        shape.num_kv_heads, trace_.info().seq_len, shape.head_dim, layer.sliding_window};
    const auto attend = [&](const at::Tensor& q, const at::Tensor& fresh_k, const at::Tensor& fresh_v) {
        const bool keeps_state = !state.k.empty();
        auto k = fresh_k.view({shape.num_kv_heads, tile.rows, steps, shape.head_dim});
        auto v = fresh_v.view({shape.num_kv_heads, tile.rows, steps, shape.head_dim});
        if (keeps_state) {
            state.k[index(layer.layer)].narrow(2, seen, steps).copy_(k);
            state.v[index(layer.layer)].narrow(2, seen, steps).copy_(v);
            k = state.k[index(layer.layer)];
            v = state.v[index(layer.layer)];
        }
        std::vector<RowCache> caches;
        for (std::int64_t row = 0; row < tile.rows; ++row) {
            const auto& kept = rows_[index(tile.first + row)];
            const auto heads = kept.cache_heads;
            const auto of_row = row * k.stride(1);
            caches.push_back(
                {kept.ranking.subspan(index(layer.layer * heads * prompt.seq_len), index(heads * prompt.seq_len)),
                    kept.counts.subspan(index(layer.layer * heads), index(heads)), k.const_data_ptr<float>() + of_row,
                    v.const_data_ptr<float>() + of_row, k.stride(0)});
        }
        const auto z = at::empty({tile.rows * steps, shape.num_heads * shape.head_dim}, q.options());
        attend_to_prefixes(
            prompt, caches, {q.const_data_ptr<float>(), z.data_ptr<float>(), steps, seen, first_position_});
        return z;
    };
    state.resid = decoder_.layer(layer.layer, state.resid, state.rope, attend);
}

void DecodeBatch::run(
    std::span<const std::int64_t> ids, const Visit& visit, const std::function<void()>& progress) const
{
    const auto steps = std::ssize(ids);
    const auto all = tiles(steps);
    const c10::InferenceMode inference;
    const auto inputs = decoder_.embed(at::tensor(at::ArrayRef<std::int64_t>(ids.data(), ids.size()), at::kLong));
    std::vector<TileState> states(all.size());
    stream_layers(trace_, [&](const LayerView& view) {
        const auto layer = view.layer;
        const auto work = [&](std::int64_t i) {
            const auto& tile = all[index(i)];
            auto& state = states[index(i)];
            if (layer == 0) {
                state.resid = inputs.repeat({tile.rows, 1});
                state.rope = rope_of(tile.rows, 0, steps);
            }
            run_layer(Layer::of(view), tile, state, 0, steps);
            visit(tile, layer, state.resid);
        };
        parallel_items(1, 1, work);
        parallel_items(std::ssize(all) - 1, threads_, [&](std::int64_t i) { work(i + 1); });
        progress();
    });
}

std::int64_t DecodeBatch::generate_progress(std::int64_t steps) const
{
    return std::ssize(tiles_of_any_ranking(steps)) * steps;
}

/// What generate() is asked for, and the answers so far.
struct DecodeBatch::Generation
{
    std::span<const std::int64_t> forced;
    std::int64_t steps;
    const std::function<void()>& progress;
    std::vector<std::int64_t> ids; // [rows, steps]
};

DecodeBatch::TileState DecodeBatch::begin_generation(const Tile& tile, std::int64_t steps) const
{
    const auto& shape = trace_.info().shape;
    TileState state;
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
        state.k.push_back(at::empty({shape.num_kv_heads, tile.rows, steps, shape.head_dim}));
        state.v.push_back(at::empty_like(state.k.back()));
    }
    return state;
}

void DecodeBatch::begin_step(const Tile& tile, TileState& state, std::int64_t step, const Generation& generation) const
{
    auto inputs = at::empty({tile.rows}, at::kLong);
    for (std::int64_t row = 0; row < tile.rows; ++row)
        inputs.data_ptr<std::int64_t>()[row] = step < std::ssize(generation.forced)
            ? generation.forced[index(step)]
            : generation.ids[index((tile.first + row) * generation.steps + step - 1)];
    state.resid = decoder_.embed(inputs);
    state.rope = rope_of(tile.rows, step, 1);
}

void DecodeBatch::end_step(const Tile& tile, const TileState& state, std::int64_t step, Generation& generation) const
{
    const auto next = most_likely(decoder_.normalize(state.resid), decoder_);
    for (std::int64_t row = 0; row < tile.rows; ++row)
        generation.ids[index((tile.first + row) * generation.steps + step)] = next[index(row)];
    generation.progress();
}

void DecodeBatch::generate_by_tile(std::span<const Tile> tiles, Generation& generation) const
{
    std::vector<Layer> layers;
    stream_layers(trace_, [&](const LayerView& view) { layers.push_back(Layer::of(view)); });
    parallel_items(std::ssize(tiles), threads_, [&](std::int64_t i) {
        const auto& tile = tiles[index(i)];
        auto state = begin_generation(tile, generation.steps);
        for (std::int64_t step = 0; step < generation.steps; ++step) {
            begin_step(tile, state, step, generation);
            for (const auto& layer : layers)
                run_layer(layer, tile, state, step, 1);
            end_step(tile, state, step, generation);
        }
    });
}

void DecodeBatch::generate_by_layer(std::span<const Tile> tiles, Generation& generation) const
{
    std::vector<TileState> states(tiles.size());
    const auto for_all = [&](const std::function<void(const Tile&, TileState&)>& work) {
        parallel_items(std::ssize(tiles), threads_, [&](std::int64_t i) { work(tiles[index(i)], states[index(i)]); });
    };
    for_all([&](const Tile& tile, TileState& state) { state = begin_generation(tile, generation.steps); });
    for (std::int64_t step = 0; step < generation.steps; ++step) {
        for_all([&](const Tile& tile, TileState& state) { begin_step(tile, state, step, generation); });
        stream_layers(trace_, [&](const LayerView& view) {
            for_all([&](const Tile& tile, TileState& state) { run_layer(Layer::of(view), tile, state, step, 1); });
        });
        for_all([&](const Tile& tile, TileState& state) { end_step(tile, state, step, generation); });
    }
}

std::vector<std::int64_t> DecodeBatch::generate(
    std::span<const std::int64_t> forced, std::int64_t steps, const std::function<void()>& progress) const
{
    const auto& info = trace_.info();
    const auto tiles = tiles_of_any_ranking(steps);
    Generation generation{forced, steps, progress, std::vector<std::int64_t>(rows_.size() * index(steps))};
    if (cache_bytes(info.shape, info.seq_len) <= prompt_bytes_at_once && !*decoder_.options().stream_weights) {
        generate_by_tile(tiles, generation);
        return std::move(generation.ids);
    }
    // what is read anew in every step is read for as many tiles as fit
    const auto at_once = std::max<std::size_t>(4, index(threads_));
    for (std::size_t first = 0; first < tiles.size(); first += at_once)
        generate_by_layer(std::span(tiles).subspan(first, std::min(at_once, tiles.size() - first)), generation);
    return std::move(generation.ids);
}

} // namespace lava
