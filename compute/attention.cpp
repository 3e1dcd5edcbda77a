#include "compute/attention.h"

#include "base/sizes.h"
#include "compute/cpu/arithmetic.h"
#include "compute/cpu/tiled_attention.h"
#include "compute/cuda/device_attention.h"
#include "compute/linear.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace lava {

namespace {

constexpr std::int64_t tile_rows
    = 64; // with a group of 3 heads a tile's scores over 4k keys are 3 MB: they stay in cache
constexpr std::int64_t fewest_tiled_rows = 8; // below, packing the keys for own arithmetic costs more than it saves
constexpr std::int64_t tiles_per_wave = 16; // bounds the partial column sums held at once

/// The whole problem, in the layout of the tiles: the query heads of a group share a KV head.
struct Problem
{
    at::Tensor q; // [num_kv_heads, group, n, head_dim], scaled by 1 / sqrt(head_dim), float32
    at::Tensor k; // [num_kv_heads, N, head_dim], float32
    at::Tensor v; // [num_kv_heads, N, head_dim], in the dtype of z
    at::Tensor z; // [n, num_kv_heads, group, head_dim]: the result
    at::Tensor above_diagonal, diagonal; // [tile_rows, tile_rows] masks
    std::int64_t window; // 0: none

    std::int64_t kv_heads() const { return q.size(0); }
    std::int64_t group() const { return q.size(1); }
    std::int64_t n() const { return q.size(2); }
    std::int64_t past() const { return k.size(1) - n(); }
    /// First key that the query in row `row` sees.
    std::int64_t first_key(std::int64_t row) const
    {
        return window == 0 ? 0 : std::max<std::int64_t>(0, past() + row + 1 - window);
    }
};

struct TileSums
{
    std::int64_t first_key = 0;
    at::Tensor all, off_diagonal; // [group, keys]
};

/// Hides from each query of a tile what has left its window. scores [group, rows, keys from first_key on].
void mask_below_window(const Problem& problem, std::int64_t first, std::int64_t first_key, const at::Tensor& scores)
{
    const auto rows = scores.size(1);
    // the window of row r begins at column `begin` + r; where first_key is 0, begin may be negative
    const auto begin = problem.past() + first + 1 - problem.window - first_key;
    if (begin + rows <= 1) // not even the last row's window begins beyond the first column
        return;
    const auto columns = std::min(rows, scores.size(2));
    const auto hidden = at::ones({rows, columns}, scores.options().dtype(at::kBool)).tril(begin - 1);
    scores.narrow(2, 0, columns).masked_fill_(hidden, -std::numeric_limits<float>::infinity());
}

/// Scores of one tile of one KV head, [group, rows, keys], masked.
at::Tensor tile_scores(const Problem& problem, std::int64_t kv_head, std::int64_t first, std::int64_t rows)
{
    const auto first_key = problem.first_key(first), keys = problem.past() + first + rows - first_key;
    const auto q = problem.q[kv_head].narrow(1, first, rows).reshape({-1, problem.q.size(3)});
    const auto scores = project(q, problem.k[kv_head].narrow(0, first_key, keys)).view({problem.group(), rows, keys});
    // only the last `rows` keys can lie in a query's future
    scores.narrow(2, keys - rows, rows)
        .masked_fill_(
            problem.above_diagonal.narrow(0, 0, rows).narrow(1, 0, rows), -std::numeric_limits<float>::infinity());
    if (problem.window > 0)
        mask_below_window(problem, first, first_key, scores);
    return scores;
}

TileSums tile_sums(const Problem& problem, std::int64_t first_key, const at::Tensor& probabilities)
{
    const auto rows = probabilities.size(1), keys = probabilities.size(2);
    TileSums sums;
    sums.first_key = first_key;
    sums.all = probabilities.sum(1);
    // the diagonal is left out, not subtracted: what remains may be much smaller
    const auto own = probabilities.narrow(2, keys - rows, rows)
                         .masked_fill(problem.diagonal.narrow(0, 0, rows).narrow(1, 0, rows), 0);
    sums.off_diagonal = at::cat({sums.all.narrow(1, 0, keys - rows), own.sum(1)}, 1);
    return sums;
}

TileSums attend_tile(
    const Problem& problem, std::int64_t kv_head, std::int64_t first, std::int64_t rows, bool column_sums)
{
    auto scores = tile_scores(problem, kv_head, first, rows);
    const auto probabilities = at::softmax(scores, -1);
    const auto flat = probabilities.view({-1, probabilities.size(2)}).to(problem.v.scalar_type());
    const auto first_key = problem.first_key(first);
    const auto z
        = at::mm(flat, problem.v[kv_head].narrow(0, first_key, flat.size(1))).view({problem.group(), rows, -1});
    problem.z.select(1, kv_head).narrow(0, first, rows).copy_(z.transpose(0, 1));
    return column_sums ? tile_sums(problem, first_key, probabilities) : TileSums{};
}

/// Adds the sums of a wave's tiles in their order.
void add_sums(const std::vector<TileSums>& wave, std::int64_t kv_heads, const at::Tensor& all, const at::Tensor& off)
{
    for (std::size_t i = 0; i < wave.size(); ++i) {
        const auto kv_head = static_cast<std::int64_t>(i) % kv_heads;
        const auto keys = wave[i].all.size(1);
        all[kv_head].narrow(1, wave[i].first_key, keys).add_(wave[i].all);
        off[kv_head].narrow(1, wave[i].first_key, keys).add_(wave[i].off_diagonal);
    }
}

Problem make_problem(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t window)
{
    const auto heads = q.size(0), n = q.size(1), head_dim = q.size(2), kv_heads = k.size(0);
    const auto mask = at::ones({tile_rows, tile_rows}, q.options().dtype(at::kBool));
    Problem problem;
    problem.q
        = (q.to(at::kFloat) / std::sqrt(static_cast<double>(head_dim))).view({kv_heads, heads / kv_heads, n, head_dim});
    problem.k = k.to(at::kFloat);
    problem.v = v;
    problem.z = at::empty({n, kv_heads, heads / kv_heads, head_dim}, q.options());
    problem.above_diagonal = mask.triu(1);
    problem.diagonal = at::eye(tile_rows, mask.options());
    problem.window = window;
    return problem;
}

} // namespace

AttentionResult causal_attention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums, std::int64_t window)
{
    const bool sees_all = window == 0 || window >= k.size(1);
    if (sees_all && q.is_cpu() && q.scalar_type() == at::kFloat && q.size(1) >= fewest_tiled_rows)
        return tiled_attention(q, k, v, column_sums, arithmetic().attention);
    if (runs_on_device(q))
        return device_attention(q, k, v, column_sums, window);
    const Problem problem = make_problem(q, k, v, window);
    const auto n = problem.n(), kv_heads = problem.kv_heads(), total = k.size(1);
    const auto sums_options = q.options().dtype(at::kDouble);
    const auto sums_shape = std::vector<std::int64_t>{kv_heads, problem.group(), total};
    const auto all = column_sums ? at::zeros(sums_shape, sums_options) : at::Tensor();
    const auto off = column_sums ? at::zeros(sums_shape, sums_options) : at::Tensor();
    const auto tiles = ceil_divide(n, tile_rows);
    const bool small = tiles == 1; // a decode step: starting threads would cost more than they save
    const int workers = q.is_cpu() && !small ? worker_threads() : 1;

    for (std::int64_t wave = 0; wave < tiles; wave += tiles_per_wave) {
        const auto items = std::min(tiles_per_wave, tiles - wave) * kv_heads;
        std::vector<TileSums> sums(column_sums ? items : 0);
        parallel_items(items, workers, [&](std::int64_t item) {
            const auto first = (wave + item / kv_heads) * tile_rows;
            const auto rows = std::min(tile_rows, n - first);
            auto tile = attend_tile(problem, item % kv_heads, first, rows, column_sums);
            if (column_sums)
                sums[static_cast<std::size_t>(item)] = std::move(tile);
        });
        add_sums(sums, kv_heads, all, off);
    }

    AttentionResult result;
    result.z = problem.z.view({n, -1});
    if (column_sums) {
        result.column_sums = all.to(at::kFloat).view({-1, total});
        result.column_sums_off_diagonal = off.to(at::kFloat).view({-1, total});
    }
    return result;
}

} // namespace lava
