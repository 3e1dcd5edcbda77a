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
#include <numeric>

namespace lava {

namespace {

constexpr std::int64_t tokens_at_once = 768; // in a tile that runs over known inputs
// In a tile that runs step by step: the more rows share the weights' reading the better, but there should be two tiles
// at least, and four where each has enough rows. How many there are must not depend on the number of threads.
constexpr std::int64_t fewest_rows_at_once = 8, enough_rows_at_once = 48, most_rows_at_once = 128;
constexpr double decode_bytes_at_once = 2e9; // the keys and values of rows that run step by step, at their longest
constexpr double prompt_bytes_at_once = 1e9; // the prompt's keys and values, where layers are not read at every step
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

std::vector<std::int64_t> numbers(const Tile& rows)
{
    std::vector<std::int64_t> result(index(rows.rows));
    std::iota(result.begin(), result.end(), rows.first);
    return result;
}

/// [tokens]: of each row, the most likely token that is not `banned`; the first of equal ones. Logits are made in
/// panels of the vocabulary.
std::vector<std::int64_t> most_likely(
    const at::Tensor& normalized, const Decoder& decoder, std::span<const std::int64_t> banned)
{
    const auto vocab = decoder.config().vocab_size;
    const auto tokens = normalized.size(0);
    std::vector<float> best(index(tokens), -std::numeric_limits<float>::infinity());
    std::vector<std::int64_t> ids(index(tokens));
    for (std::int64_t first = 0; first < vocab; first += panel) {
        const auto width = std::min(panel, vocab - first);
        const auto logits = project(normalized, decoder.lm_head(first, width));
        for (const auto id : banned) {
            if (id >= first && id < first + width)
                logits.select(1, id - first).fill_(-std::numeric_limits<float>::infinity());
        }
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
    Rows rows;
    at::Tensor resid; // [rows * steps, hidden_size]
    Rope rope; // rotation of the steps under way
    const Turn* turn = nullptr; // null where all steps are run at once
    at::Tensor places; // [rows] of the tile's rows in the turn
};

/// Rows that run step by step, side by side.
struct DecodeBatch::Turn
{
    Tile all;
    Rows rows; // whose answers go on; all have taken the same number of steps
    // decode entries of steps that are done, per layer [num_kv_heads, all.rows, steps, head_dim]; memory is taken page
    // by page as it is first written, so what a row that stopped leaves free is never taken
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

std::vector<Tile> DecodeBatch::rankings(std::span<const std::int64_t> rows) const
{
    std::vector<Tile> result;
    const auto ranking = [&](std::int64_t i) { return rows_[index(rows[index(i)])].ranking.data(); };
    for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
        if (i == 0 || ranking(i) != ranking(i - 1))
            result.push_back({i, 0});
        ++result.back().rows;
    }
    return result;
}

std::vector<Tile> DecodeBatch::tiles(std::int64_t steps) const
{
    std::vector<Tile> result;
    for (const auto& ranking : rankings(numbers({0, std::ssize(rows_)})))
        divide(ranking, std::max<std::int64_t>(1, tokens_at_once / steps), result);
    return result;
}

std::vector<Tile> DecodeBatch::tiles_of_any_ranking(std::span<const std::int64_t> rows) const
{
    const auto count = std::ssize(rows);
    const auto fewest = std::clamp((count + 1) / 2, fewest_rows_at_once, enough_rows_at_once);
    const auto largest = std::clamp((count + 3) / 4, fewest, most_rows_at_once);
    std::vector<Tile> pieces;
    for (const auto& ranking : rankings(rows))
        divide(ranking, largest, pieces);
    const auto parts = ceil_divide(count, largest);
    const auto alike = ceil_divide(count, parts); // rows of each, were all alike
    std::vector<Tile> result;
    for (const auto& piece : pieces) { // whole, as its rows share the gathering of entries
        const auto begun = std::ssize(result) * alike;
        if (result.empty() || piece.first + piece.rows / 2 >= begun || result.back().rows + piece.rows > largest)
            result.push_back({piece.first, 0});
        result.back().rows += piece.rows;
    }
    return result;
}

AnswerMemory answer_memory(const ModelShape& shape, std::int64_t rows, std::int64_t steps)
{
    const auto each = cache_bytes(shape, steps);
    const auto fitting = std::clamp<std::int64_t>(static_cast<std::int64_t>(decode_bytes_at_once / each), 1, rows);
    const auto turns = (rows + fitting - 1) / fitting;
    const auto at_once = (rows + turns - 1) / turns;
    return {at_once, each * static_cast<double>(at_once)};
}

std::vector<Tile> DecodeBatch::turns(std::int64_t steps) const
{
    const auto rows = std::ssize(rows_);
    std::vector<Tile> result;
    divide({0, rows}, answer_memory(trace_.info().shape, rows, steps).rows, result);
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

void DecodeBatch::run_layer(const Layer& layer, TileState& state, std::int64_t seen, std::int64_t steps) const
{
    const auto& shape = trace_.info().shape;
    const PromptCache prompt{layer.k.const_data_ptr<float>(), layer.v.const_data_ptr<float>(), shape.num_heads,
        shape.num_kv_heads, trace_.info().seq_len, shape.head_dim, layer.sliding_window};
    const auto attend = [&](const at::Tensor& q, const at::Tensor& fresh_k, const at::Tensor& fresh_v) {
        const auto rows = std::ssize(state.rows);
        auto k = fresh_k.view({shape.num_kv_heads, rows, steps, shape.head_dim});
        auto v = fresh_v.view({shape.num_kv_heads, rows, steps, shape.head_dim});
        if (state.turn != nullptr) { // a step at a time
            const auto keep = [&](const at::Tensor& kept, const at::Tensor& fresh) {
                kept.select(2, seen).index_copy_(1, state.places, fresh.select(2, 0));
                return kept;
            };
            k = keep(state.turn->k[index(layer.layer)], k);
            v = keep(state.turn->v[index(layer.layer)], v);
        }
        std::vector<RowCache> caches;
        for (std::int64_t i = 0; i < rows; ++i) {
            const auto row = state.rows[index(i)];
            const auto& kept = rows_[index(row)];
            const auto heads = kept.cache_heads;
            const auto of_row = (state.turn != nullptr ? row - state.turn->all.first : i) * k.stride(1);
            caches.push_back(
                {kept.ranking.subspan(index(layer.layer * heads * prompt.seq_len), index(heads * prompt.seq_len)),
                    kept.counts.subspan(index(layer.layer * heads), index(heads)), k.const_data_ptr<float>() + of_row,
                    v.const_data_ptr<float>() + of_row, k.stride(0)});
        }
        const auto z = at::empty({rows * steps, shape.num_heads * shape.head_dim}, q.options());
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
                state.rows = numbers(tile);
                state.resid = inputs.repeat({tile.rows, 1});
                state.rope = rope_of(tile.rows, 0, steps);
            }
            run_layer(Layer::of(view), state, 0, steps);
            visit(tile, layer, state.resid);
        };
        parallel_items(1, 1, work);
        parallel_items(std::ssize(all) - 1, threads_, [&](std::int64_t i) { work(i + 1); });
        progress();
    });
}

std::int64_t DecodeBatch::generate_progress(std::int64_t steps) const
{
    return std::ssize(turns(steps)) * steps;
}

/// What generate() is asked for, and the answers so far.
struct DecodeBatch::Generation
{
    std::span<const std::int64_t> forced;
    std::int64_t steps;
    const StopRule& stop;
    std::vector<Layer> layers; // of the prompt; empty where each is read when it is needed
    std::vector<std::int64_t> ids; // [rows, steps]

    std::int64_t& id(std::int64_t row, std::int64_t step) { return ids[index(row * steps + step)]; }
    std::int64_t id(std::int64_t row, std::int64_t step) const { return ids[index(row * steps + step)]; }
};

DecodeBatch::Turn DecodeBatch::begin_turn(const Tile& rows, std::int64_t steps) const
{
    const auto& shape = trace_.info().shape;
    Turn turn{rows, numbers(rows), {}, {}};
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
        turn.k.push_back(at::empty({shape.num_kv_heads, rows.rows, steps, shape.head_dim}));
        turn.v.push_back(at::empty_like(turn.k.back()));
    }
    return turn;
}

void DecodeBatch::begin_step(TileState& state, std::int64_t step, const Generation& generation) const
{
    const auto rows = std::ssize(state.rows);
    auto inputs = at::empty({rows}, at::kLong);
    state.places = at::empty({rows}, at::kLong);
    for (std::int64_t i = 0; i < rows; ++i) {
        const auto row = state.rows[index(i)];
        state.places.data_ptr<std::int64_t>()[i] = row - state.turn->all.first;
        inputs.data_ptr<std::int64_t>()[i]
            = step < std::ssize(generation.forced) ? generation.forced[index(step)] : generation.id(row, step - 1);
    }
    state.resid = decoder_.embed(inputs);
    state.rope = rope_of(rows, step, 1);
}

void DecodeBatch::end_step(const TileState& state, std::int64_t step, Generation& generation) const
{
    const auto& stop = generation.stop;
    const auto banned = step < stop.min_new_tokens ? std::span(stop.ids) : std::span<const std::int64_t>();
    const auto next = most_likely(decoder_.normalize(state.resid), decoder_, banned);
    for (std::size_t i = 0; i < state.rows.size(); ++i)
        generation.id(state.rows[i], step) = next[i];
}

void DecodeBatch::for_all_tiles(std::vector<TileState>& tiles, const std::function<void(TileState&)>& work) const
{
    parallel_items(std::ssize(tiles), threads_, [&](std::int64_t i) { work(tiles[index(i)]); });
}

void DecodeBatch::take_step(Turn& turn, std::int64_t step, Generation& generation) const
{
    std::vector<TileState> tiles;
    for (const auto& tile : tiles_of_any_ranking(turn.rows)) {
        const auto begin = turn.rows.begin() + tile.first;
        tiles.push_back({Rows(begin, begin + tile.rows), {}, {}, &turn, {}});
    }
    if (!generation.layers.empty()) {
        for_all_tiles(tiles, [&](TileState& state) {
            begin_step(state, step, generation);
            for (const auto& layer : generation.layers)
                run_layer(layer, state, step, 1);
            end_step(state, step, generation);
        });
    } else {
        for_all_tiles(tiles, [&](TileState& state) { begin_step(state, step, generation); });
        stream_layers(trace_, [&](const LayerView& view) {
            for_all_tiles(tiles, [&](TileState& state) { run_layer(Layer::of(view), state, step, 1); });
        });
        for_all_tiles(tiles, [&](TileState& state) { end_step(state, step, generation); });
    }
    std::erase_if(turn.rows, [&](std::int64_t row) {
        return std::ranges::find(generation.stop.ids, generation.id(row, step)) != generation.stop.ids.end();
    });
}

std::vector<std::int64_t> DecodeBatch::generate(std::span<const std::int64_t> forced, std::int64_t steps,
    const StopRule& stop, const std::function<void()>& progress) const
{
    const auto& info = trace_.info();
    Generation generation{forced, steps, stop, {}, std::vector<std::int64_t>(rows_.size() * index(steps), -1)};
    if (cache_bytes(info.shape, info.seq_len) <= prompt_bytes_at_once && !*decoder_.options().stream_weights)
        stream_layers(trace_, [&](const LayerView& view) { generation.layers.push_back(Layer::of(view)); });
    for (const auto& rows : turns(steps)) {
        auto turn = begin_turn(rows, steps);
        for (std::int64_t step = 0; step < steps; ++step) {
            if (!turn.rows.empty())
                take_step(turn, step, generation);
            progress();
        }
    }
    return std::move(generation.ids);
}

} // namespace lava
