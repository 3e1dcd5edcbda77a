#include "replay/decode_batch.h"

#include "model/linear.h"
#include "model/parallel.h"
#include "replay/prefix_attention.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>

namespace lava {

namespace {

constexpr std::int64_t tokens_at_once = 768; // in a tile that runs over known inputs
constexpr std::int64_t rows_at_once = 192; // in a tile that runs step by step
constexpr std::int64_t panel = 512; // columns of the vocabulary whose logits are held at once

std::size_t index(std::int64_t value)
{
    return static_cast<std::size_t>(value);
}

/// A stretch in equal parts of at most `largest`.
void divide(std::int64_t begin, std::int64_t end, std::int64_t largest, std::vector<Tile>& tiles)
{
    const auto parts = (end - begin + largest - 1) / largest;
    for (std::int64_t part = 0; part < parts; ++part) {
        const auto first = begin + (end - begin) * part / parts;
        tiles.push_back({first, begin + (end - begin) * (part + 1) / parts - first});
    }
}

/// [tokens]: of each row, the most likely token; the first of equal ones. Logits are made in panels of the vocabulary.
std::vector<std::int64_t> most_likely(const at::Tensor& normalized, const at::Tensor& lm_head)
{
    const auto tokens = normalized.size(0);
    std::vector<float> best(index(tokens), -std::numeric_limits<float>::infinity());
    std::vector<std::int64_t> ids(index(tokens));
    for (std::int64_t first = 0; first < lm_head.size(0); first += panel) {
        const auto width = std::min(panel, lm_head.size(0) - first);
        const auto logits = project(normalized, lm_head.narrow(0, first, width));
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
};

/// A tile on its way through the model.
struct DecodeBatch::TileState
{
    at::Tensor resid; // [rows * steps, hidden_size]
    Rope rope; // of the steps under way
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

std::vector<Tile> DecodeBatch::tiles(std::int64_t steps) const
{
    std::vector<Tile> result;
    const auto count = std::ssize(rows_);
    for (std::int64_t begin = 0; begin < count;) {
        auto end = begin + 1;
        while (end < count && rows_[index(end)].ranking.data() == rows_[index(begin)].ranking.data())
            ++end;
        divide(begin, end, std::max<std::int64_t>(1, tokens_at_once / steps), result);
        begin = end;
    }
    return result;
}

std::vector<Tile> DecodeBatch::tiles_of_any_ranking() const
{
    std::vector<Tile> result;
    divide(0, std::ssize(rows_), rows_at_once, result);
    return result;
}

DecodeBatch::Layer DecodeBatch::load(std::int64_t layer) const
{
    const auto view = trace_.layer(layer);
    return {layer, view.k, view.v};
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
        shape.num_kv_heads, trace_.info().seq_len, shape.head_dim};
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
        attend_to_prefixes(prompt, caches, {q.const_data_ptr<float>(), z.data_ptr<float>(), steps, seen});
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
    for (std::int64_t layer = 0; layer < trace_.info().shape.num_layers; ++layer) {
        const auto loaded = load(layer);
        const auto work = [&](std::int64_t i) {
            const auto& tile = all[index(i)];
            auto& state = states[index(i)];
            if (layer == 0) {
                state.resid = inputs.repeat({tile.rows, 1});
                state.rope = rope_of(tile.rows, 0, steps);
            }
            run_layer(loaded, tile, state, 0, steps);
            visit(tile, layer, state.resid);
        };
        parallel_items(1, 1, work);
        parallel_items(std::ssize(all) - 1, threads_, [&](std::int64_t i) { work(i + 1); });
        progress();
    }
}

std::int64_t DecodeBatch::generate_progress(std::int64_t steps) const
{
    return std::ssize(tiles_of_any_ranking()) * steps;
}

std::vector<std::int64_t> DecodeBatch::generate(
    std::span<const std::int64_t> forced, std::int64_t steps, const std::function<void()>& progress) const
{
    const auto& shape = trace_.info().shape;
    const auto all = tiles_of_any_ranking();
    std::vector<Layer> layers;
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer)
        layers.push_back(load(layer));
    std::vector<std::int64_t> ids(rows_.size() * index(steps));
    parallel_items(std::ssize(all), threads_, [&](std::int64_t i) {
        const auto& tile = all[index(i)];
        TileState state;
        for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
            state.k.push_back(at::empty({shape.num_kv_heads, tile.rows, steps, shape.head_dim}));
            state.v.push_back(at::empty_like(state.k.back()));
        }
        auto inputs = at::empty({tile.rows}, at::kLong);
        for (std::int64_t step = 0; step < steps; ++step) {
            if (step < std::ssize(forced))
                inputs.fill_(forced[index(step)]);
            state.resid = decoder_.embed(inputs);
            state.rope = rope_of(tile.rows, step, 1);
            for (const auto& layer : layers)
                run_layer(layer, tile, state, step, 1);
            const auto next = most_likely(decoder_.normalize(state.resid), decoder_.lm_head());
            for (std::int64_t row = 0; row < tile.rows; ++row) {
                ids[index((tile.first + row) * steps + step)] = next[index(row)];
                inputs.data_ptr<std::int64_t>()[row] = next[index(row)];
            }
            progress();
        }
    });
    return ids;
}

} // namespace lava
