#include "replay/closed_loop/prefix_attention.h"

#include "base/sizes.h"
#include "compute/cpu/arithmetic.h"
#include "traces/sliding_window.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>
#include <vector>

namespace lava {

namespace {

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
        , first_leaving_(std::min(prompt.seq_len, first_seen_by(0)))
        , first_lasting_(std::min(prompt.seq_len, first_seen_by(fresh.steps - 1)))
        , counts_(rows.size())
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

    HeadPass(const HeadPass&) = delete; // its spans look into its own vectors
    HeadPass& operator=(const HeadPass&) = delete;

    /// `first_row`: of these rows among all
    void run(std::int64_t head, std::int64_t first_row)
    {
        head_ = head;
        kv_head_ = head * group_ * prompt_.num_kv_heads / prompt_.num_heads;
        first_row_ = first_row;
        find_lasting_entries();
        begin();
        attend_to_prompt();
        attend_to_leaving_entries();
        attend_to_decode_entries();
        finish();
    }

private:
    std::int64_t count_of(std::size_t row) const { return counts_[row]; }

    /// First position that fresh step `step` sees.
    std::int64_t first_seen_by(std::int64_t step) const
    {
        return first_seen(fresh_.first_position + fresh_.seen + step, prompt_.sliding_window);
    }

    std::span<const std::uint32_t> ranking() const
    {
        return rows_.front().ranking.subspan(index(head_ * prompt_.seq_len), index(prompt_.seq_len));
    }

    /// What every fresh step sees of the ranking, and how much of that each row keeps.
    void find_lasting_entries()
    {
        for (std::size_t row = 0; row < rows_.size(); ++row)
            counts_[row] = rows_[row].counts[index(head_)];
        lasting_ = ranking();
        if (first_lasting_ == 0)
            return;
        const auto longest = *std::ranges::max_element(counts_);
        std::vector<std::int64_t> lasting_before(index(longest) + 1); // each place of the ranking
        lasting_entries_.clear();
        for (std::int64_t place = 0; place < longest; ++place) {
            const auto entry = lasting_[index(place)];
            if (entry >= first_lasting_)
                lasting_entries_.push_back(entry);
            lasting_before[index(place) + 1] = std::ssize(lasting_entries_);
        }
        for (auto& count : counts_)
            count = lasting_before[index(count)];
        lasting_ = lasting_entries_;
    }

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

    void gather_of_prompt(std::span<const std::uint32_t> entries)
    {
        const auto offset = kv_head_ * prompt_.seq_len * prompt_.head_dim;
        gather(prompt_.k + offset, prompt_.v + offset, entries);
    }

    void attend_to_prompt()
    {
        const auto longest = count_of(order_.front());
        for (std::int64_t first = 0; first < longest; first += block_entries) {
            const auto entries = std::min(block_entries, longest - first);
            gather_of_prompt(lasting_.subspan(index(first), index(entries)));
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

    /// Entries that only the first of the fresh steps see: of those that a row keeps, newest first, a step sees the
    /// first ones.
    void attend_to_leaving_entries()
    {
        if (first_leaving_ == first_lasting_)
            return;
        for (std::size_t i = 0; i < order_.size(); ++i) {
            const auto kept = ranking().first(index(rows_[order_[i]].counts[index(head_)]));
            leaving_.clear();
            std::ranges::copy_if(kept, std::back_inserter(leaving_),
                [&](auto entry) { return entry >= first_leaving_ && entry < first_lasting_; });
            std::ranges::sort(leaving_, std::greater<>());
            for (std::int64_t first = 0; first < std::ssize(leaving_); first += block_entries) {
                const auto in_block = std::min(block_entries, std::ssize(leaving_) - first);
                const auto entries = std::span(leaving_).subspan(index(first), index(in_block));
                gather_of_prompt(entries);
                for (std::int64_t column = 0; column < per_row_; ++column) {
                    const auto sees = [&](auto entry) { return entry >= first_seen_by(column % fresh_.steps); };
                    visible_[index(column)] = static_cast<std::int32_t>(std::ranges::count_if(entries, sees));
                }
                attend_block(static_cast<std::int64_t>(i) * per_row_, per_row_);
            }
        }
    }

    void attend_to_decode_entries()
    {
        for (std::size_t i = 0; i < order_.size(); ++i) {
            const auto first_column = static_cast<std::int64_t>(i) * per_row_;
            const auto& row = rows_[order_[i]];
            if (first_seen_by(fresh_.steps - 1) <= fresh_.first_position) {
                attend_to_decode_entries(row, first_column, 0, 0, fresh_.steps);
                continue;
            }
            for (std::int64_t step = 0; step < fresh_.steps; ++step) { // each leaves other entries behind
                const auto begin = std::max<std::int64_t>(0, first_seen_by(step) - fresh_.first_position);
                attend_to_decode_entries(row, first_column, begin, step, step + 1);
            }
        }
    }

    /// A row's decode entries from `begin` on, for its steps from `first_step` to `end_step`.
    void attend_to_decode_entries(const RowCache& row, std::int64_t first_column, std::int64_t begin,
        std::int64_t first_step, std::int64_t end_step)
    {
        const auto end = fresh_.seen + end_step;
        for (auto first = begin; first < end; first += block_entries) {
            const auto in_block = std::min(block_entries, end - first);
            const auto offset = kv_head_ * row.decode_stride + first * prompt_.head_dim;
            gather(row.decode_k + offset, row.decode_v + offset, std::span(in_order_).first(index(in_block)));
            for (std::int64_t column = 0; column < per_row_; ++column) {
                const auto step = column % fresh_.steps, last = fresh_.seen + step; // the step itself
                const bool attends = step >= first_step && step < end_step;
                visible_[index(column)]
                    = attends ? static_cast<std::int32_t>(std::clamp<std::int64_t>(last + 1 - first, 0, in_block)) : 0;
            }
            attend_block(first_column, per_row_);
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
    std::int64_t first_leaving_, first_lasting_; // entries of the prompt that some, and that all fresh steps see
    // part of the head's ranking: what all fresh steps see, or more than rows keep
    std::span<const std::uint32_t> lasting_;
    std::vector<std::uint32_t> lasting_entries_; // `lasting_` where it is not the ranking itself
    // what the row under way keeps of the entries that some fresh steps no longer see
    std::vector<std::uint32_t> leaving_;
    std::vector<std::int64_t> counts_; // how many of `lasting_` each row keeps
    std::vector<std::size_t> order_;
    std::array<std::uint32_t, block_entries> in_order_;
    std::vector<float> keys_, values_; // one block; what is left in unused slots is masked
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
