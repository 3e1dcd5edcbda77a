#include "compute/cpu/tiled_attention.h"

#include "base/sizes.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

/// Stretches of a head's tiles that are shared among the threads: enough of them for many threads, and few enough that
/// their column sums, one set each, take little memory.
constexpr std::int64_t least_stretches = 64;

struct TiledProblem
{
    const AttentionArithmetic& arithmetic;
    at::Tensor q; // [num_heads, n, head_dim]
    at::Tensor packed_keys; // [num_kv_heads, floats]
    at::Tensor values; // [num_kv_heads, N, padded_dim]
    at::Tensor z; // [n, num_heads, head_dim]: the result
    std::int64_t num_keys; // N

    std::int64_t heads() const { return q.size(0); }
    std::int64_t n() const { return q.size(1); }
    std::int64_t dim() const { return q.size(2); }
    std::int64_t past() const { return num_keys - n(); }
    std::int64_t tiles() const { return ceil_divide(n(), attention_tile_rows); }
    std::int64_t kv_head(std::int64_t head) const { return head / (heads() / packed_keys.size(0)); }
};

/// A head's tiles [begin, end), and their column sums.
struct Stretch
{
    std::int64_t head, begin, end;
    std::vector<double> all, off_diagonal; // [keys that its last row sees]
};

bool has_plain_heads(const at::Tensor& x)
{
    return x.stride(2) == 1 && x.stride(1) == x.size(2);
}

at::Tensor plain_heads(const at::Tensor& x)
{
    const auto wide = x.to(at::kFloat);
    return has_plain_heads(wide) ? wide : wide.contiguous();
}

at::Tensor pack(const AttentionArithmetic& arithmetic, const at::Tensor& k)
{
    const auto keys = plain_heads(k);
    const auto rows = rounded_up(k.size(1), arithmetic.panel);
    const auto packed = at::empty({k.size(0), rows * k.size(2)}, at::kFloat);
    parallel_items(k.size(0), worker_threads(), [&](std::int64_t head) {
        arithmetic.pack_keys(
            keys[head].const_data_ptr<float>(), k.size(1), k.size(2), packed[head].mutable_data_ptr<float>());
    });
    return packed;
}

at::Tensor pad(const AttentionArithmetic& arithmetic, const at::Tensor& v)
{
    const auto missing = (arithmetic.lanes - v.size(2) % arithmetic.lanes) % arithmetic.lanes;
    return missing == 0 ? plain_heads(v) : at::constant_pad_nd(v.to(at::kFloat), {0, missing}).contiguous();
}

/// Stretches of about equal work: a tile's grows with the keys that it sees. Their number does not depend on the
/// threads, so that the order of the sums does not either.
std::vector<Stretch> make_stretches(const TiledProblem& problem, bool column_sums)
{
    const auto per_head = std::clamp<std::int64_t>(
        ceil_divide(least_stretches, problem.heads()), 1, std::max<std::int64_t>(problem.tiles(), 1));
    const auto work_until = [&](std::int64_t tile) {
        return static_cast<double>(tile) * static_cast<double>(2 * problem.past() + tile * attention_tile_rows);
    };
    std::vector<Stretch> stretches;
    for (std::int64_t head = 0; head < problem.heads(); ++head) {
        std::int64_t tile = 0;
        for (std::int64_t i = 1; i <= per_head; ++i) {
            const auto target = work_until(problem.tiles()) * static_cast<double>(i) / static_cast<double>(per_head);
            Stretch stretch{head, tile, tile, {}, {}};
            while (tile < problem.tiles() && (i == per_head || work_until(tile) < target))
                stretch.end = ++tile;
            if (column_sums) {
                const auto rows = std::min(stretch.end * attention_tile_rows, problem.n());
                stretch.all.resize(static_cast<std::size_t>(problem.past() + rows));
                stretch.off_diagonal.resize(stretch.all.size());
            }
            stretches.push_back(std::move(stretch));
        }
    }
    return stretches;
}

/// A thread's working memory, kept from tile to tile: fresh pages would cost as much as the arithmetic.
struct Buffers
{
    std::vector<float> scratch, q, sums, off_diagonal;
};

void attend_tile(const TiledProblem& problem, Stretch& stretch, std::int64_t tile_index, Buffers& buffers)
{
    const auto dim = problem.dim(), row = tile_index * attention_tile_rows;
    const auto rows = std::min(attention_tile_rows, problem.n() - row), keys = problem.past() + row + rows;
    const bool column_sums = !stretch.all.empty();
    const auto q = problem.q[stretch.head];
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
    buffers.q.assign(static_cast<std::size_t>(attention_tile_rows * dim), 0);
    const auto* from = q.const_data_ptr<float>() + row * q.stride(0);
    std::transform(from, from + rows * dim, buffers.q.begin(), [scale](float x) { return x * scale; });
    const auto padded = problem.values.size(2);
    const auto floats = static_cast<std::size_t>(attention_scratch(keys, padded, column_sums));
    buffers.scratch.resize(std::max(buffers.scratch.size(), floats));
    buffers.sums.resize(static_cast<std::size_t>(keys));
    buffers.off_diagonal.resize(static_cast<std::size_t>(keys));
    const auto kv_head = problem.kv_head(stretch.head);
    problem.arithmetic.attend({.q = buffers.q.data(),
        .keys = problem.packed_keys[kv_head].const_data_ptr<float>(),
        .values = problem.values[kv_head].const_data_ptr<float>(),
        .rows = rows,
        .head_dim = dim,
        .padded_dim = padded,
        .first = problem.past() + row,
        .z = problem.z.mutable_data_ptr<float>() + (row * problem.heads() + stretch.head) * dim,
        .z_stride = problem.heads() * dim,
        .sums = column_sums ? buffers.sums.data() : nullptr,
        .off_diagonal = buffers.off_diagonal.data(),
        .scratch = buffers.scratch.data()});
    for (std::size_t i = 0; column_sums && i < buffers.sums.size(); ++i) {
        stretch.all[i] += static_cast<double>(buffers.sums[i]);
        stretch.off_diagonal[i] += static_cast<double>(buffers.off_diagonal[i]);
    }
}

/// The stretches' sums of each head, in their order: float32 [num_heads, N].
at::Tensor join(const std::vector<Stretch>& stretches, std::vector<double> Stretch::*sums, const TiledProblem& problem)
{
    const auto total = at::zeros({problem.heads(), problem.num_keys}, at::kDouble);
    for (const Stretch& stretch : stretches) {
        auto* row = total.mutable_data_ptr<double>() + stretch.head * problem.num_keys;
        for (std::size_t i = 0; i < (stretch.*sums).size(); ++i)
            row[i] += (stretch.*sums)[i];
    }
    return total.to(at::kFloat);
}

} // namespace

AttentionResult tiled_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums,
    const AttentionArithmetic& arithmetic)
{
    TiledProblem problem{arithmetic, plain_heads(q), pack(arithmetic, k), pad(arithmetic, v),
        at::empty({q.size(1), q.size(0), q.size(2)}, at::kFloat), k.size(1)};
    auto stretches = make_stretches(problem, column_sums);
    parallel_items(std::ssize(stretches), worker_threads(), [&](std::int64_t item) {
        thread_local Buffers buffers;
        auto& stretch = stretches[static_cast<std::size_t>(item)];
        for (auto tile = stretch.begin; tile < stretch.end; ++tile)
            attend_tile(problem, stretch, tile, buffers);
    });
    AttentionResult result;
    result.z = problem.z.view({q.size(1), -1}).to(q.scalar_type());
    if (column_sums) {
        result.column_sums = join(stretches, &Stretch::all, problem);
        result.column_sums_off_diagonal = join(stretches, &Stretch::off_diagonal, problem);
    }
    return result;
}

} // namespace lava
