#include "gui/measure.h"

#include "analysis/closed_loop_statistics.h"
#include "gui/sweep.h"

#include <QLocale>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>

namespace lava::gui {

namespace {

struct LossMeasure
{
    const char* key;
    const char* label;
    double LossSummary::*member;
    const char* heading = "Loss";
};

constexpr std::array loss_measures{
    LossMeasure{
        "attn_out_l1_relative", "Layer attention output loss, L1, relative", &LossSummary::attn_out_l1_relative},
    LossMeasure{
        "attn_out_l2_relative", "Layer attention output loss, L2, relative", &LossSummary::attn_out_l2_relative},
    LossMeasure{"attn_out_l1", "Layer attention output loss, L1", &LossSummary::attn_out_l1},
    LossMeasure{"attn_out_l2", "Layer attention output loss, L2", &LossSummary::attn_out_l2},
    LossMeasure{"head_l1", "Head attention loss, L1", &LossSummary::head_l1},
    LossMeasure{"head_output_l1", "Head output loss, L1", &LossSummary::head_output_l1},
    LossMeasure{"head_output_l1_relative", "Head output loss, L1, relative", &LossSummary::head_output_l1_relative},
    LossMeasure{"head_output_l2_relative", "Head output loss, L2, relative", &LossSummary::head_output_l2_relative},
    LossMeasure{"tightness_lava", "Tightness of LAVa's bound", &LossSummary::tightness_lava, "Tightness"},
    LossMeasure{"tightness_adakv", "Tightness of Ada-KV's bound", &LossSummary::tightness_adakv, "Tightness"},
    LossMeasure{
        "tightness_projected", "Tightness of the projected bound", &LossSummary::tightness_projected, "Tightness"},
};

constexpr std::array layer_output_measures{
    LossMeasure{"layer_out_l1_relative", "Layer output loss, L1, relative", &LossSummary::layer_out_l1_relative},
    LossMeasure{"layer_out_l2_relative", "Layer output loss, L2, relative", &LossSummary::layer_out_l2_relative},
};

Measure from_losses(const LossMeasure& loss)
{
    const auto take = [member = loss.member](const std::optional<LossSummary>& summary) {
        return summary ? std::optional<double>((*summary).*member) : std::nullopt;
    };
    return {loss.key, QString::fromLatin1(loss.label), QString::fromLatin1(loss.heading), false, MeasureOf::losses,
        [take](const Cell& cell) { return take(losses(cell)); },
        [take](const Cell& cell, std::int64_t layer) { return take(losses(cell, layer)); }};
}

struct ClosedLoopMeasure
{
    const char* key;
    const char* label;
    const char* heading;
    std::optional<double> (*of_run)(const ClosedLoopSummary&);
    std::optional<double> (*of_layer)(const LayerDrift&) = nullptr;
    bool is_share = false;
};

constexpr std::array closed_loop_measures{
    ClosedLoopMeasure{"kl", "KL divergence from the whole cache, nats", "KL",
        [](const ClosedLoopSummary& all) { return std::optional(all.kl); }},
    ClosedLoopMeasure{"cross_entropy", "Cross-entropy of the next token, nats", "CE",
        [](const ClosedLoopSummary& all) { return all.cross_entropy; }},
    ClosedLoopMeasure{"top1_agreement", "Most likely token as with the whole cache", "Top-1",
        [](const ClosedLoopSummary& all) { return std::optional(all.top1_agreement); }, nullptr, true},
    ClosedLoopMeasure{"drift_l1_relative", "Drift of the residual stream, L1, relative", "Drift",
        [](const ClosedLoopSummary& all) { return std::optional(all.drift_l1_relative); },
        [](const LayerDrift& layer) { return std::optional(layer.l1_relative); }},
    ClosedLoopMeasure{"drift_l2_relative", "Drift of the residual stream, L2, relative", "Drift",
        [](const ClosedLoopSummary& all) { return std::optional(all.drift_l2_relative); },
        [](const LayerDrift& layer) { return std::optional(layer.l2_relative); }},
};

Measure from_closed_loop(const ClosedLoopMeasure& measure)
{
    return {measure.key, QString::fromLatin1(measure.label), QString::fromLatin1(measure.heading), measure.is_share,
        MeasureOf::closed_loop,
        [of_run = measure.of_run](const Cell& cell) {
            const auto all = closed_loop(cell);
            return all ? of_run(*all) : std::nullopt;
        },
        [of_layer = measure.of_layer](const Cell& cell, std::int64_t layer) {
            const auto here = of_layer ? drift(cell, layer) : std::nullopt;
            return here ? of_layer(*here) : std::nullopt;
        }};
}

Measure survival(const Span& span)
{
    return {"survival_" + span.name, QStringLiteral("Survival of span “%1”").arg(QString::fromStdString(span.name)),
        QStringLiteral("Survival"), true, MeasureOf::spans,
        [span](const Cell& cell) { return std::optional(span_survival(cell, span)); },
        [span](const Cell& cell, std::int64_t layer) { return std::optional(span_survival(cell, span, layer)); }};
}

Measure global_eviction(const Span& span)
{
    return {"global_eviction_" + span.name,
        QStringLiteral("Tokens of “%1” that no head keeps").arg(QString::fromStdString(span.name)),
        QStringLiteral("Gone"), true, MeasureOf::spans,
        [span](const Cell& cell) { return std::optional(global_eviction_ratio(cell, span)); },
        [](const Cell&, std::int64_t) { return std::optional<double>(); }};
}

const QLocale& english()
{
    static const QLocale locale(QLocale::English);
    return locale;
}

} // namespace

std::vector<Measure> measures(const ReplayReport& report)
{
    std::vector<Measure> result;
    std::transform(loss_measures.begin(), loss_measures.end(), std::back_inserter(result), from_losses);
    if (report.has_layer_outputs())
        std::transform(
            layer_output_measures.begin(), layer_output_measures.end(), std::back_inserter(result), from_losses);
    if (!report.closed_loop.empty())
        std::transform(
            closed_loop_measures.begin(), closed_loop_measures.end(), std::back_inserter(result), from_closed_loop);
    auto spans = report.trace.spans;
    if (const auto marked = span_to_mark(report.trace))
        std::rotate(spans.begin(), spans.begin() + static_cast<std::ptrdiff_t>(*marked), spans.end());
    for (const auto& span : spans) {
        result.push_back(survival(span));
        result.push_back(global_eviction(span));
    }
    return result;
}

MeasureTable tabulate(const ReplayReport& report, const Measure& measure)
{
    MeasureTable table;
    for (std::size_t policy = 0; policy < report.policies.size(); ++policy) {
        auto& row = table.emplace_back();
        for (std::size_t budget = 0; budget < report.policies[policy].budgets.size(); ++budget)
            row.push_back(measure.of_run({report, policy, budget}));
    }
    return table;
}

QString format_value(const Measure& measure, std::optional<double> value)
{
    if (!value)
        return QStringLiteral("–");
    if (measure.is_share)
        return QString::number(*value * 100, 'f', 1) + QStringLiteral(" %");
    return QString::number(*value, 'g', 3);
}

QString head_kind(const Cell& cell)
{
    return cell.is_per_query_head() ? QStringLiteral("query head") : QStringLiteral("KV head");
}

QString format_count(std::int64_t count)
{
    return english().toString(static_cast<qlonglong>(count));
}

QString format_share(std::int64_t part, std::int64_t whole)
{
    const auto percent = whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
    return QString::number(percent, 'f', percent < 10 ? 2 : 1) + QStringLiteral(" %");
}

QString missing_losses(const ReplayReport& report)
{
    const std::filesystem::path trace(report.trace.file);
    return QStringLiteral("No losses: the trace %1 was recorded without its loss part (evaluation steps and W_O).")
        .arg(QString::fromStdString(trace.filename().string()));
}

} // namespace lava::gui
