#include "analysis/metrics/common_subsequence.h"

#include <algorithm>
#include <cstdint>

namespace lava {

namespace {

/// Lengths of the longest common subsequences of the first i tokens of the first sequence with every beginning of the
/// second.
using LengthRow = std::vector<std::uint32_t>; // [second + 1]

class Walker
{
public:
    Walker(std::span<const std::size_t> first, std::span<const std::size_t> second, bool prefer_first, std::size_t held)
        : first_(first)
        , second_(second)
        , prefer_first_(prefer_first)
        , held_(held)
        , i_(first.size())
        , j_(second.size())
    { }

    CommonWalk walk()
    {
        back_to(0, LengthRow(j_ + 1));
        return std::move(walk_);
    }

private:
    /// Walks from (i_, j_) until row `begin`, whose lengths are `row`, or column 0.
    void back_to(std::size_t begin, LengthRow row)
    {
        if (i_ - begin > 1 && i_ - begin > held_ / (j_ + 1)) {
            const std::size_t middle = begin + (i_ - begin) / 2;
            LengthRow half(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(j_ + 1));
            for (std::size_t i = begin; i < middle; ++i)
                next(half, i, [](std::size_t, bool) {});
            back_to(middle, std::move(half));
            if (j_ > 0)
                back_to(begin, std::move(row));
            return;
        }
        const std::size_t columns = j_ + 1;
        std::vector<bool> passes_second((i_ - begin) * columns);
        for (std::size_t i = begin; i < i_; ++i)
            next(row, i, [&](std::size_t j, bool passes) { passes_second[(i - begin) * columns + j] = passes; });
        for (; i_ > begin && j_ > 0; ++walk_.steps)
            step(passes_second[(i_ - 1 - begin) * columns + j_]);
    }

    /// From the lengths of the first `i` tokens to those of one more, up to column j_. Tells `use` of each column of
    /// differing tokens whether the second's is passed over there.
    template <typename Use> void next(LengthRow& row, std::size_t i, const Use& use) const
    {
        std::uint32_t diagonal = 0;
        for (std::size_t j = 1; j <= j_; ++j) {
            const std::uint32_t above = row[j];
            if (first_[i] == second_[j - 1]) {
                row[j] = diagonal + 1;
            } else {
                use(j, prefer_first_ ? row[j - 1] > above : row[j - 1] >= above);
                row[j] = std::max(above, row[j - 1]);
            }
            diagonal = above;
        }
    }

    void step(bool passes_second)
    {
        if (first_[i_ - 1] == second_[j_ - 1]) {
            walk_.places.push_back(--i_);
            --j_;
        } else if (passes_second) {
            --j_;
        } else {
            --i_;
        }
    }

    std::span<const std::size_t> first_;
    std::span<const std::size_t> second_;
    bool prefer_first_;
    std::size_t held_;
    std::size_t i_; // what is left of the first
    std::size_t j_; // what is left of the second
    CommonWalk walk_;
};

} // namespace

CommonWalk walk_common_subsequence(
    std::span<const std::size_t> first, std::span<const std::size_t> second, bool prefer_first, std::size_t held)
{
    return Walker(first, second, prefer_first, held).walk();
}

} // namespace lava
