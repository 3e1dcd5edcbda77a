#include "analysis/oracle.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/sizes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lava {

namespace {

/// A piece of a hull: `size` entries more for `fall` less loss.
struct Segment
{
    std::size_t head = 0;
    std::int64_t size = 0;
    double fall = 0;

    double slope() const { return fall / static_cast<double>(size); }
};

std::vector<Segment> segments_of(std::span<const LossCurve> hulls)
{
    std::vector<Segment> segments;
    for (std::size_t head = 0; head < hulls.size(); ++head) {
        const LossCurve& hull = hulls[head];
        for (std::size_t i = 1; i < hull.counts.size(); ++i)
            segments.push_back({head, hull.counts[i] - hull.counts[i - 1], hull.losses[i - 1] - hull.losses[i]});
    }
    // equal slopes: the lower head first, so that the division does not depend on the library's sort
    std::ranges::stable_sort(segments, [](const Segment& a, const Segment& b) { return a.slope() > b.slope(); });
    return segments;
}

/// Entries in proportion to what the curves begin with, whole ones; what rounding leaves goes to the first heads.
std::vector<std::int64_t> proportional(std::span<const LossCurve> curves, std::int64_t first, std::int64_t total)
{
    std::vector<std::int64_t> counts;
    for (const LossCurve& curve : curves)
        counts.push_back(curve.counts.front() * total / first);
    std::int64_t left = total - std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    for (std::size_t head = 0; left > 0; head = (head + 1) % counts.size()) {
        if (counts[head] < curves[head].counts.front()) {
            ++counts[head];
            --left;
        }
    }
    return counts;
}

/// Sum over steps of a query head's loss at one budget.
double head_loss(
    const ReplayReport& report, const PolicyReplay& replay, std::size_t budget, std::int64_t layer, std::int64_t head)
{
    const ModelShape& shape = report.trace.shape;
    const std::int64_t steps = report.trace.eval_len;
    const std::int64_t row = (static_cast<std::int64_t>(budget) * shape.num_layers + layer) * shape.num_heads + head;
    const auto begin = replay.head_output_l1.begin() + row * steps;
    return std::accumulate(begin, begin + steps, 0.0);
}

double layer_norm(const ReplayReport& report, std::int64_t layer)
{
    const std::int64_t width = report.trace.shape.num_heads * report.trace.eval_len;
    const auto begin = report.norms.head_output_l1.begin() + layer * width;
    return std::accumulate(begin, begin + width, 0.0);
}

/// Adds a measured point; of several at the same count, which differ by rounding alone, the first stays.
void add_point(LossCurve& curve, std::int64_t count, double loss)
{
    const auto place = std::ranges::lower_bound(curve.counts, count) - curve.counts.begin();
    if (place < std::ssize(curve.counts) && curve.counts[index(place)] == count)
        return;
    curve.counts.insert(curve.counts.begin() + place, count);
    curve.losses.insert(curve.losses.begin() + place, loss);
}

void check_curves(const ReplayReport& report, std::size_t policy)
{
    const PolicyReplay& replay = report.policies[policy];
    const std::string where = report.file + ": " + replay.policy + ": ";
    if (!report.has_losses())
        throw Error(where + "expected losses, found none");
    if (report.ranks_by_budget(policy))
        throw Error(where + "expected one ranking of each head, found one for each budget");
}

std::size_t find_policy(std::span<const ReplayReport> report, const std::string& policy)
{
    const std::vector<Cell> cells = select_cells(report, {{policy}, {}, {}});
    for (const Cell& cell : cells) {
        if (cell.replay().policy != cells.front().replay().policy)
            throw Error(report.front().file + ": '" + policy + "' names several policies; expected one: "
                + cells.front().replay().policy + ", " + cell.replay().policy);
    }
    return cells.front().policy;
}

/// The loss of what a policy keeps itself, by its curves.
double own_loss(const std::vector<LossCurve>& curves, std::span<const std::int64_t> counts)
{
    double loss = 0;
    for (std::size_t head = 0; head < curves.size(); ++head) {
        const auto place = std::ranges::lower_bound(curves[head].counts, counts[head]) - curves[head].counts.begin();
        loss += curves[head].losses[index(place)];
    }
    return loss;
}

} // namespace

LossCurve lower_hull(const LossCurve& curve)
{
    LossCurve hull;
    const auto cross = [&](std::size_t a, std::size_t b, std::size_t i) { // above 0: b lies below the line from a to i
        return static_cast<double>(hull.counts[b] - hull.counts[a]) * (curve.losses[i] - hull.losses[a])
            - (hull.losses[b] - hull.losses[a]) * static_cast<double>(curve.counts[i] - hull.counts[a]);
    };
    for (std::size_t i = 0; i < curve.counts.size(); ++i) {
        while (hull.counts.size() >= 2 && cross(hull.counts.size() - 2, hull.counts.size() - 1, i) <= 0) {
            hull.counts.pop_back();
            hull.losses.pop_back();
        }
        hull.counts.push_back(curve.counts[i]);
        hull.losses.push_back(curve.losses[i]);
    }
    return hull;
}

OracleAllocation oracle_allocation(std::span<const LossCurve> curves, std::int64_t total)
{
    OracleAllocation oracle;
    std::vector<LossCurve> hulls;
    std::int64_t first = 0;
    for (const LossCurve& curve : curves) {
        hulls.push_back(lower_hull(curve));
        oracle.counts.push_back(curve.counts.front());
        oracle.loss += curve.losses.front();
        first += curve.counts.front();
    }
    oracle.bound = oracle.loss;
    if (total < first) {
        oracle.counts = proportional(curves, first, total);
        return oracle;
    }
    std::int64_t left = total - first;
    for (const Segment& segment : segments_of(hulls)) {
        const std::int64_t taken = std::min(left, segment.size);
        oracle.counts[segment.head] += taken;
        oracle.bound -= segment.slope() * static_cast<double>(taken);
        oracle.loss -= taken == segment.size ? segment.fall : 0;
        left -= taken;
        if (left == 0)
            break;
    }
    return oracle;
}

std::vector<LossCurve> loss_curves(const ReplayReport& report, std::size_t policy)
{
    check_curves(report, policy);
    const PolicyReplay& replay = report.policies[policy];
    const std::int64_t heads = report.cache_heads(policy);
    const std::int64_t group = report.trace.shape.num_heads / heads;
    std::vector<LossCurve> curves;
    for (std::int64_t layer = 0; layer < report.trace.shape.num_layers; ++layer) {
        const double norm = layer_norm(report, layer);
        for (std::int64_t head = 0; head < heads; ++head) {
            LossCurve& curve = curves.emplace_back(LossCurve{{report.trace.seq_len}, {0}});
            for (std::size_t budget = 0; budget < replay.budgets.size(); ++budget) {
                const auto row = (static_cast<std::int64_t>(budget) * report.trace.shape.num_layers + layer) * heads;
                double loss = 0;
                for (std::int64_t member = head * group; member < (head + 1) * group; ++member)
                    loss += head_loss(report, replay, budget, layer, member);
                add_point(curve, replay.counts[index(row + head)], norm > 0 ? loss / norm : 0);
            }
        }
    }
    return curves;
}

Table oracle_table(std::span<const ReplayReport> reports, const std::string& policy)
{
    Table table;
    for (const char* name : {"report", "policy", "budget", "retained", "head_output_l1_relative", "oracle_loss",
             "oracle_bound", "duality_gap"})
        table.columns.push_back({name, reports.size() > 1 || std::string(name) != "report"});
    for (std::size_t i = 0; i < reports.size(); ++i) {
        const ReplayReport& report = reports[i];
        const std::size_t chosen = find_policy(reports.subspan(i, 1), policy);
        const PolicyReplay& replay = report.policies[chosen];
        const std::vector<LossCurve> curves = loss_curves(report, chosen);
        const auto layers = static_cast<double>(report.trace.shape.num_layers);
        for (std::size_t budget = 0; budget < replay.budgets.size(); ++budget) {
            const auto counts = std::span(replay.counts).subspan(budget * curves.size(), curves.size());
            const auto total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
            const OracleAllocation oracle = oracle_allocation(curves, total);
            table.rows.push_back(
                {report.file, replay.policy, replay.budgets[budget], total, own_loss(curves, counts) / layers,
                    oracle.loss / layers, oracle.bound / layers, (oracle.loss - oracle.bound) / layers});
        }
    }
    return table;
}

NpyArray oracle_curves(std::span<const ReplayReport> reports, const std::string& policy)
{
    constexpr std::int64_t points = 99;
    const ModelShape& shape = reports.front().trace.shape;
    NpyArray array{{points, shape.num_layers, shape.num_kv_heads}, {}};
    array.values.resize(index(points * shape.num_layers * shape.num_kv_heads));
    for (std::size_t i = 0; i < reports.size(); ++i) {
        const ReplayReport& report = reports[i];
        const std::size_t chosen = find_policy(reports.subspan(i, 1), policy);
        const std::vector<LossCurve> curves = loss_curves(report, chosen);
        if (report.trace.shape.num_layers != shape.num_layers || std::ssize(curves) != array.shape[1] * array.shape[2])
            throw Error(formatted("{}: expected {} KV heads, as in {}, found {}", report.file,
                array.shape[1] * array.shape[2], reports.front().file, curves.size()));
        const std::int64_t entries = report.trace.seq_len * std::ssize(curves);
        for (std::int64_t percent = 1; percent <= points; ++percent) {
            const OracleAllocation oracle = oracle_allocation(curves, entries - entries * percent / 100);
            for (std::size_t head = 0; head < curves.size(); ++head) {
                const double kept
                    = static_cast<double>(oracle.counts[head]) / static_cast<double>(report.trace.seq_len);
                array.values[index(percent - 1) * curves.size() + head]
                    += (1 - kept) / static_cast<double>(reports.size());
            }
        }
    }
    return array;
}

} // namespace lava
