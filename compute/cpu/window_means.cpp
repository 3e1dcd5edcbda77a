#include "compute/cpu/window_means.h"

#include "base/sizes.h"
#include "compute/cpu/arithmetic.h"
#include "compute/parallel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace lava {

namespace {

constexpr std::int64_t keys_per_block = 240; // whose scores stay in the second-level cache

// The queries that share a KV head, in columns: column = head_in_group * window + query.
struct GroupQueries
{
    std::int64_t group = 0;
    std::int64_t window = 0;
    std::int64_t columns = 0; // padded to whole panels
    std::vector<float> panels; // [columns / score_panel, head_dim, score_panel], scaled
};

GroupQueries group_queries(const WindowInputs& inputs, std::int64_t kv_head)
{
    const auto dim = inputs.head_dim, window = inputs.window;
    GroupQueries queries;
    queries.group = inputs.num_heads / inputs.num_kv_heads;
    queries.window = window;
    queries.columns = rounded_up(queries.group * window, score_panel);
    queries.panels.resize(static_cast<std::size_t>(queries.columns * dim));
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
    const auto* query = inputs.q + kv_head * queries.group * window * dim;
    for (std::int64_t column = 0; column < queries.group * window; ++column) {
        auto* to = queries.panels.data() + column / score_panel * score_panel * dim + column % score_panel;
        for (std::int64_t i = 0; i < dim; ++i) {
            to[i * score_panel] = *query++ * scale;
        }
    }
    return queries;
}

// One KV head's attention, block of keys by block: each relative to its own maxima until those of all are known.
class BlockwiseAttention
{
public:
    BlockwiseAttention(const WindowInputs& inputs, std::int64_t kv_head, const GroupQueries& queries)
        : queries_(queries)
        , seq_len_(inputs.seq_len)
        , sliding_window_(inputs.sliding_window)
        , blocks_(ceil_divide(seq_len_, keys_per_block))
        , scores_(std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(seq_len_ * queries.columns)))
        , maxima_(static_cast<std::size_t>(blocks_ * queries.columns))
        , sums_(maxima_.size())
    {
        const auto dim = inputs.head_dim;
        const auto* keys = inputs.k + kv_head * seq_len_ * dim;
        for (std::int64_t block = 0; block < blocks_; ++block) {
            const auto first = block * keys_per_block;
            auto* scores = scores_.get() + first * queries.columns;
            kernels().scores(keys + first * dim, size(block), dim, queries.panels.data(), queries.columns, scores);
            hide_unseen(block, scores);
            kernels().exponentiate_block(scores, size(block), queries.columns, maxima_.data() + block * queries.columns,
                sums_.data() + block * queries.columns);
        }
    }

    // Of each query head of the group [group, seq_len - window].
    void means(float* to) const
    {
        const auto kept = seq_len_ - queries_.window;
        const auto factors = block_factors();
        std::vector<float> head_factors(static_cast<std::size_t>(padded(queries_.window) + lane_multiple));
        for (std::int64_t block = 0; block * keys_per_block < kept; ++block) {
            const auto first = block * keys_per_block;
            const auto count = std::min(size(block), kept - first);
            for (std::int64_t head = 0; head < queries_.group; ++head) {
                const auto begin = head * queries_.window / lane_multiple * lane_multiple;
                const auto end = padded((head + 1) * queries_.window);
                for (auto column = begin; column < end; ++column) {
                    const bool of_head = column / queries_.window == head;
                    head_factors[static_cast<std::size_t>(column - begin)]
                        = of_head ? factors[static_cast<std::size_t>(block * queries_.columns + column)] : 0;
                }
                kernels().row_products(scores_.get() + first * queries_.columns + begin, queries_.columns, count,
                    head_factors.data(), end - begin, to + head * kept + first);
            }
        }
    }

private:
    std::int64_t size(std::int64_t block) const { return std::min(keys_per_block, seq_len_ - block * keys_per_block); }

    // A query sees nothing behind its own position, nor what has left its window: such scores are far below all
    // others. (Not at -inf: a block may hold nothing else.)
    void hide_unseen(std::int64_t block, float* scores) const
    {
        const auto first = block * keys_per_block, end = first + size(block);
        const auto first_query = seq_len_ - queries_.window; // its position
        for (auto key = std::max(first, first_query); key < end; ++key) {
            hide(scores + (key - first) * queries_.columns, 0, key - first_query);
        }
        for (auto key = first; key < std::min(end, first_seen_by_last()); ++key) {
            const auto out_of = std::max<std::int64_t>(0, key + sliding_window_ - first_query);
            hide(scores + (key - first) * queries_.columns, out_of, queries_.window);
        }
    }

    // By the window's last query.
    std::int64_t first_seen_by_last() const
    {
        return sliding_window_ == 0 ? 0 : std::max<std::int64_t>(0, seq_len_ - sliding_window_);
    }

    // Of one key, for the window's queries from `begin` to `end` of each query head.
    void hide(float* row, std::int64_t begin, std::int64_t end) const
    {
        for (std::int64_t head = 0; head < queries_.group; ++head) {
            std::fill(row + head * queries_.window + begin, row + head * queries_.window + end,
                std::numeric_limits<float>::lowest() / 2);
        }
    }

    // [blocks, columns]: what turns a block's exponentials into probabilities, divided by the window.
    std::vector<float> block_factors() const
    {
        const auto columns = static_cast<std::size_t>(queries_.columns);
        std::vector<float> factors(maxima_.size());
        for (std::size_t column = 0; column < columns; ++column) {
            auto largest = -std::numeric_limits<double>::infinity();
            for (auto at = column; at < maxima_.size(); at += columns) {
                largest = std::max(largest, static_cast<double>(maxima_[at]));
            }
            double sum = 0;
            for (auto at = column; at < maxima_.size(); at += columns) {
                sum += sums_[at] * std::exp(static_cast<double>(maxima_[at]) - largest);
            }
            for (auto at = column; at < maxima_.size(); at += columns) {
                factors[at] = static_cast<float>(std::exp(static_cast<double>(maxima_[at]) - largest)
                    / (sum * static_cast<double>(queries_.window)));
            }
        }
        return factors;
    }

    const GroupQueries& queries_;
    std::int64_t seq_len_;
    std::int64_t sliding_window_;
    std::int64_t blocks_;
    std::unique_ptr<float[]> scores_; // [seq_len, columns] exponentials
    std::vector<float> maxima_; // [blocks, columns]
    std::vector<double> sums_; // [blocks, columns]
};

} // namespace

void window_means_on_cpu(const WindowInputs& inputs, int threads, float* means)
{
    parallel_items(inputs.num_kv_heads, threads, [&](std::int64_t kv_head) {
        const auto queries = group_queries(inputs, kv_head);
        const BlockwiseAttention attention(inputs, kv_head, queries);
        attention.means(means + kv_head * queries.group * (inputs.seq_len - inputs.window));
    });
}

} // namespace lava
