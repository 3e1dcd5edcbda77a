#include "replay/prefix_attention.h"

#include "replay/kernels/kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace lava {

namespace {

std::size_t index(std::int64_t value)
{
    return static_cast<std::size_t>(value);
}

std::int64_t rounded_up(std::int64_t value, std::int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/// One cache head of rows that share a ranking: its query heads' steps attend. Each row has group * steps columns, head
/// after head; the rows that keep most come first, so that those which still see a block are the first ones.
class HeadPass
{
public:
    HeadPass(const PromptCache& prompt, std::span<const RowCache> rows, const FreshSteps& fresh, std::int64_t all_rows)
        : prompt_(prompt)
        , rows_(rows)
        , fresh_(fresh)
        , all_steps_(all_rows * fresh.steps)
        , group_(prompt.num_heads / std::ssize(rows.front().counts))
        , per_row_(group_ * fresh.steps)
        , padded_dim_(padded(prompt.head_dim))
        , order_(rows.size())
        , keys_(index(prompt.head_dim * block_entries))
        , values_(index(block_entries * padded_dim_))
    {
        std::iota(in_order_.begin(), in_order_.end(), 0U);
        const auto columns = index(rounded_up(std::ssize(rows) * per_row_, column_tile) + column_tile);
        q_.resize(columns * index(prompt.head_dim));
        max_.resize(columns);
        sum_.resize(columns * index(lane_multiple));
        out_.resize(columns * index(padded_dim_));
        visible_.resize(columns);
    }

    /// `first_row`: of these rows among all
    void run(std::int64_t head, std::int64_t first_row)
    {
        head_ = head;
        kv_head_ = head * group_ * prompt_.num_kv_heads / prompt_.num_heads;
        first_row_ = first_row;
        begin();
        attend_to_prompt();
        attend_to_decode_entries();
        finish();
    }

private:
    std::int64_t count_of(std::size_t row) const { return rows_[row].counts[index(head_)]; }

    AttentionColumns columns_from(std::int64_t column)
    {
        return {q_.data() + column * prompt_.head_dim, prompt_.head_dim, max_.data() + column,
            sum_.data() + column * lane_multiple, out_.data() + column * padded_dim_, padded_dim_};
    }

    void begin()
    {
        std::iota(order_.begin(), order_.end(), 0U);
        std::ranges::stable_sort(order_, [&](auto a, auto b) { return count_of(a) > count_of(b); });
        const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(prompt_.head_dim)));
        float* to = q_.data();
        for (const auto row : order_) {
            for (std::int64_t head = 0; head < group_; ++head) {
                const auto from_row = (head_ * group_ + head) * all_steps_
                    + (first_row_ + static_cast<std::int64_t>(row)) * fresh_.steps;
                const float* from = fresh_.q + from_row * prompt_.head_dim;
                to = std::transform(
                    from, from + fresh_.steps * prompt_.head_dim, to, [scale](float x) { return x * scale; });
            }
        }
        std::ranges::fill(max_, lowest_logit);
        std::ranges::fill(sum_, 0.0F);
        std::ranges::fill(out_, 0.0F);
    }

    void gather(const float* k, const float* v, std::span<const std::uint32_t> entries)
    {
        kernels().gather_block(
            {k, v, prompt_.head_dim}, entries.data(), std::ssize(entries), keys_.data(), values_.data());
    }

    void attend_to_prompt()
    {
        const auto ranking = rows_.front().ranking.subspan(index(head_ * prompt_.seq_len), index(prompt_.seq_len));
        const auto longest = count_of(order_.front());
        const float* k = prompt_.k + kv_head_ * prompt_.seq_len * prompt_.head_dim;
        const float* v = prompt_.v + kv_head_ * prompt_.seq_len * prompt_.head_dim;
        for (std::int64_t first = 0; first < longest; first += block_entries) {
            const auto entries = std::min(block_entries, longest - first);
            gather(k, v, ranking.subspan(index(first), index(entries)));
            attend_block(0, active_columns(first));
        }
    }

    /// Columns of the rows that keep entries from `first` on; how many each of them keeps of its block.
    std::int64_t active_columns(std::int64_t first)
    {
        std::int64_t columns = 0;
        for (const auto row : order_) {
            const auto left = std::min(block_entries, count_of(row) - first);
            if (left <= 0)
                break;
            std::fill_n(visible_.begin() + columns, per_row_, static_cast<std::int32_t>(left));
            columns += per_row_;
        }
        return columns;
    }

    void attend_block(std::int64_t first_column, std::int64_t columns)
    {
        const auto whole_tiles = rounded_up(columns, column_tile);
        std::fill(visible_.begin() + columns, visible_.begin() + whole_tiles, 0);
        kernels().attend_block(
            columns_from(first_column), {keys_.data(), values_.data()}, visible_.data(), whole_tiles);
    }

    void attend_to_decode_entries()
    {
        const auto entries = fresh_.seen + fresh_.steps;
        for (std::size_t i = 0; i < order_.size(); ++i) {
            const auto& row = rows_[order_[i]];
            for (std::int64_t first = 0; first < entries; first += block_entries) {
                const auto in_block = std::min(block_entries, entries - first);
                const auto offset = kv_head_ * row.decode_stride + first * prompt_.head_dim;
                gather(row.decode_k + offset, row.decode_v + offset, std::span(in_order_).first(index(in_block)));
                for (std::int64_t column = 0; column < per_row_; ++column) {
                    const auto last = fresh_.seen + column % fresh_.steps; // the step itself
                    visible_[index(column)]
                        = static_cast<std::int32_t>(std::clamp<std::int64_t>(last + 1 - first, 0, in_block));
                }
                attend_block(static_cast<std::int64_t>(i) * per_row_, per_row_);
            }
        }
    }

    void finish()
    {
        std::int64_t column = 0;
        for (const auto row : order_) {
            for (std::int64_t in_row = 0; in_row < per_row_; ++in_row, ++column) {
                const auto head = head_ * group_ + in_row / fresh_.steps;
                const auto step = (first_row_ + static_cast<std::int64_t>(row)) * fresh_.steps + in_row % fresh_.steps;
                const auto* parts = sum_.data() + column * lane_multiple;
                const auto share = 1 / std::accumulate(parts, parts + lane_multiple, 0.0F);
                const auto* from = out_.data() + column * padded_dim_;
                std::transform(from, from + prompt_.head_dim,
                    fresh_.z + (step * prompt_.num_heads + head) * prompt_.head_dim,
                    [share](float x) { return x * share; });
            }
        }
    }

    const PromptCache& prompt_;
    std::span<const RowCache> rows_;
    const FreshSteps& fresh_;
    std::int64_t all_steps_;
    std::int64_t group_; // query heads of a cache head
    std::int64_t per_row_;
    std::int64_t padded_dim_;
    std::int64_t head_ = 0; // the cache head under way
    std::int64_t kv_head_ = 0;
    std::int64_t first_row_ = 0;
    std::vector<std::size_t> order_;
    std::array<std::uint32_t, block_entries> in_order_;
    std::vector<float> keys_, values_; // of a block; what is left in unused slots is masked
    std::vector<float> q_, max_, sum_, out_;
    std::vector<std::int32_t> visible_;
};

} // namespace

void attend_to_prefixes(const PromptCache& prompt, std::span<const RowCache> rows, const FreshSteps& fresh)
{
    for (std::size_t begin = 0; begin < rows.size();) {
        auto end = begin + 1;
        while (end < rows.size() && rows[end].ranking.data() == rows[begin].ranking.data())
            ++end;
        HeadPass pass(prompt, rows.subspan(begin, end - begin), fresh, std::ssize(rows));
        for (std::int64_t head = 0; head < std::ssize(rows[begin].counts); ++head)
            pass.run(head, static_cast<std::int64_t>(begin));
        begin = end;
    }
}

} // namespace lava
