#include "analysis/report_checks.h"

#include "analysis/closed_loop_file.h"
#include "analysis/quantities.h"
#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

namespace lava {

namespace {

/// Refuses what a file says, naming the place.
class Checker
{
public:
    Checker(const std::filesystem::path& file, const ReplayReport& report)
        : file_(file.string())
        , report_(report)
    { }

    void check() const
    {
        check_tokens();
        check_spans();
        check_norms();
        for (std::size_t i = 0; i < report_.policies.size(); ++i)
            check_policy(report_.policies[i], "/policies/" + policy_name(i));
    }

private:
    [[noreturn]] void refuse(const std::string& dataset, const std::string& message) const
    {
        throw Error(file_ + ": " + dataset + ": " + message);
    }

    void check_length(const std::string& dataset, std::size_t found, std::int64_t expected, bool may_be_empty) const
    {
        if (static_cast<std::int64_t>(found) != expected && !(may_be_empty && found == 0))
            refuse(dataset, formatted("expected {} values, found {}", expected, found));
    }

    void check_tokens() const
    {
        const TraceInfo& trace = report_.trace;
        check_length("/trace/prompt_ids", trace.prompt_ids.size(), trace.seq_len, true);
        check_length("/trace/prompt_texts", trace.prompt_texts.size(), trace.seq_len, true);
        check_length("/trace/eval_ids", trace.eval_ids.size(), trace.eval_len, true);
        check_length("/trace/eval_texts", trace.eval_texts.size(), trace.eval_len, true);
        check_length("/deviations", report_.deviations.size(), trace.shape.num_layers, true);
    }

    void check_spans() const
    {
        for (const Span& span : report_.trace.spans) {
            if (span.begin < 0 || span.begin > span.end || span.end > report_.trace.seq_len)
                refuse("/trace/spans",
                    formatted("expected '{}' within {} tokens, found {}:{}", span.name, report_.trace.seq_len,
                        span.begin, span.end));
        }
    }

    template <typename T>
    void check_losses(
        const std::string& dataset, const std::vector<T>& values, std::int64_t count, bool may_be_empty = false) const
    {
        check_length(dataset, values.size(), report_.has_losses() ? count : 0, may_be_empty);
        for (const T value : values) {
            if (!std::isfinite(value) || value < 0)
                refuse(dataset, formatted("expected finite numbers of at least 0, found {}", std::to_string(value)));
        }
    }

    /// How many numbers a loss has to have, where there are losses.
    std::int64_t expected(std::vector<std::int64_t> leading, Extent extent, Needs needs) const
    {
        const bool is_there = needs != Needs::model || report_.has_layer_outputs();
        return is_there ? count_of(loss_shape(std::move(leading), extent, report_.trace)) : 0;
    }

    void check_norms() const
    {
        for_each_loss([&](const auto& loss) {
            if (loss.has_norm())
                check_losses(std::string("/norms/") + loss.name, report_.norms.*loss.array,
                    expected({}, loss.extent, loss.needs), loss.may_be_absent);
        });
    }

    void check_policy(const PolicyReplay& replay, const std::string& path) const
    {
        if (replay.policy.empty() || replay.name.empty())
            refuse(path, "expected attributes policy and name, found none");
        check_budgets(replay, path);
        check_counts(replay, path);
        check_ranking(replay, path);
        bool any_bound = false;
        for_each_loss(
            [&](const auto& loss) { any_bound = any_bound || (loss.is_bound() && !(replay.*loss.array).empty()); });
        const auto grid = static_cast<std::int64_t>(replay.budgets.size());
        for_each_loss([&](const auto& loss) {
            check_losses(path + "/" + loss.name, replay.*loss.array, expected({grid}, loss.extent, loss.needs),
                loss.may_be_absent || (loss.is_bound() && !any_bound));
        });
    }

    void check_budgets(const PolicyReplay& replay, const std::string& path) const
    {
        const std::vector<std::int64_t>& budgets = replay.budgets;
        if (budgets.empty())
            refuse(path + "/budgets", "expected at least one budget, found none");
        if (std::ranges::adjacent_find(budgets, std::greater_equal<>()) != budgets.end())
            refuse(path + "/budgets", "expected ascending budgets, found others");
        if (budgets.front() < 0 || budgets.back() > report_.trace.seq_len)
            refuse(path + "/budgets",
                formatted("expected 0 to {}, found {} to {}", report_.trace.seq_len, budgets.front(), budgets.back()));
        check_length(path + "/asked", replay.asked.size(), static_cast<std::int64_t>(budgets.size()), false);
        check_length(path + "/granted", replay.granted.size(), static_cast<std::int64_t>(budgets.size()), false);
    }

    void check_counts(const PolicyReplay& replay, const std::string& path) const
    {
        const ModelShape& shape = report_.trace.shape;
        const auto grid = static_cast<std::int64_t>(replay.budgets.size());
        check_length(path + "/counts", replay.counts.size(),
            grid * shape.num_layers * cache_heads(replay, report_.trace), false);
        for (const std::int64_t count : replay.counts) {
            if (count < 0 || count > report_.trace.seq_len)
                refuse(path + "/counts",
                    formatted("expected 0 to {} entries in a head, found {}", report_.trace.seq_len, count));
        }
    }

    void check_ranking(const PolicyReplay& replay, const std::string& path) const
    {
        const ModelShape& shape = report_.trace.shape;
        const auto seq_len = static_cast<std::size_t>(report_.trace.seq_len);
        const std::int64_t own_heads = cache_heads(replay, report_.trace);
        const std::int64_t heads = shape.num_layers * own_heads;
        check_ranking_of(replay, path);
        if (replay.ranking.empty())
            return; // kept with another policy, or not at all
        const auto rankings = replay.ranking.size() == static_cast<std::size_t>(heads) * seq_len
            ? 1
            : static_cast<std::int64_t>(replay.budgets.size());
        check_length(path + "/ranking", replay.ranking.size(), rankings * heads * report_.trace.seq_len, false);
        for (std::int64_t head = 0; head < rankings * heads; ++head) {
            std::vector<bool> seen(seq_len);
            const auto row = std::span(replay.ranking).subspan(static_cast<std::size_t>(head) * seq_len, seq_len);
            for (const std::uint32_t position : row) {
                if (position < seq_len && !seen[position]) {
                    seen[position] = true;
                    continue;
                }
                refuse(path + "/ranking",
                    formatted("expected every position below {} once, found {}{} in layer {}, KV head {}", seq_len,
                        position, position < seq_len ? " twice" : "", head / own_heads % shape.num_layers,
                        head % own_heads));
            }
            leave_memory(replay.ranking, static_cast<std::size_t>(head) * seq_len, seq_len);
        }
    }

    void check_ranking_of(const PolicyReplay& replay, const std::string& path) const
    {
        if (replay.ranking_of < 0)
            return;
        const auto owner = static_cast<std::size_t>(replay.ranking_of);
        if (owner >= report_.policies.size() || report_.policies[owner].ranking_of >= 0
            || cache_heads(report_.policies[owner], report_.trace) != cache_heads(replay, report_.trace))
            refuse(path,
                formatted(
                    "attribute ranking_of: expected a policy with a ranking of its own, found {}", replay.ranking_of));
    }

    std::string file_;
    const ReplayReport& report_;
};

} // namespace

std::string policy_name(std::size_t index)
{
    const std::string digits = std::to_string(index);
    return std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
}

void check_report_sizes(const std::filesystem::path& file, const TraceInfo& trace)
{
    const auto expect = [&](const char* name, std::int64_t found, std::int64_t low, std::int64_t high) {
        if (found < low || found > high)
            throw Error(
                formatted("{}: /trace: {}: expected {} to {}, found {}", file.string(), name, low, high, found));
    };
    // Far above any model, low enough that no product of sizes overflows.
    expect("num_layers", trace.shape.num_layers, 1, 10'000);
    expect("num_heads", trace.shape.num_heads, 1, 10'000);
    expect("num_kv_heads", trace.shape.num_kv_heads, 1, trace.shape.num_heads);
    expect("head_dim", trace.shape.head_dim, 1, 1'000'000);
    expect("hidden_size", trace.shape.hidden_size, 0, 100'000'000);
    expect("seq_len", trace.seq_len, 1, std::numeric_limits<std::int32_t>::max());
    expect("eval_len", trace.eval_len, 0, 1'000'000);
    expect("window", trace.window, 0, trace.seq_len);
    if (trace.shape.num_heads % trace.shape.num_kv_heads != 0)
        throw Error(formatted("{}: /trace: num_kv_heads: expected a divisor of num_heads {}, found {}", file.string(),
            trace.shape.num_heads, trace.shape.num_kv_heads));
}

void check_report(const std::filesystem::path& file, const ReplayReport& report)
{
    check_report_sizes(file, report.trace);
    Checker(file, report).check();
    check_closed_loop(file, report);
}

} // namespace lava
