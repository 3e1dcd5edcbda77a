#include "gui/token_model.h"

#include "gui/measure.h"

#include <QStringDecoder>
#include <QStringList>

namespace lava::gui {

QString token_text(const std::string& bytes)
{
    QStringDecoder decoder(QStringDecoder::Utf8);
    const QString text = decoder(QByteArrayView(bytes.data(), static_cast<qsizetype>(bytes.size())));
    const QString whole = text + QString(decoder(QByteArrayView()));
    if (!decoder.hasError() && whole.toUtf8().toStdString() == bytes)
        return whole;
    return QStringLiteral("⟨%1⟩").arg(QString::fromLatin1(QByteArray::fromStdString(bytes).toHex(' ')));
}

void TokenModel::set_report(SharedReport report)
{
    beginResetModel();
    report_ = std::move(report);
    const auto& trace = report_->trace;
    const auto length = static_cast<std::size_t>(trace.seq_len);
    texts_.clear();
    for (std::size_t position = 0; position < length; ++position)
        texts_.push_back(position < trace.prompt_texts.size() ? token_text(trace.prompt_texts[position])
                                                              : QStringLiteral(" %1").arg(position));
    keepers_.assign(length, 0);
    num_chosen_ = 1;
    choice_ = {};
    span_ = span_to_mark(trace);
    endResetModel();
}

void TokenModel::set_cell(std::size_t policy, std::size_t budget, const HeadChoice& choice)
{
    keepers_ = keepers({*report_, policy, budget}, choice);
    num_chosen_ = num_heads_chosen(Cell{*report_, policy, budget}.shape(), choice);
    choice_ = choice;
    Q_EMIT dataChanged(index(0), index(rowCount() - 1));
}

void TokenModel::set_span(std::optional<std::size_t> span)
{
    span_ = span;
    Q_EMIT dataChanged(index(0), index(rowCount() - 1));
}

double TokenModel::share(int position) const
{
    return static_cast<double>(keepers_[static_cast<std::size_t>(position)]) / static_cast<double>(num_chosen_);
}

bool TokenModel::in_span(int position) const
{
    const auto marked = span();
    return marked && position >= marked->begin && position < marked->end;
}

std::optional<Span> TokenModel::span() const
{
    return span_ ? std::optional(report_->trace.spans[*span_]) : std::nullopt;
}

int TokenModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(texts_.size());
}

QVariant TokenModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    switch (role) {
    case Qt::DisplayRole:
        return text(index.row());
    case share_role:
        return share(index.row());
    case in_span_role:
        return in_span(index.row());
    case Qt::ToolTipRole:
        return tool_tip(index.row());
    default:
        return {};
    }
}

QString TokenModel::tool_tip(int position) const
{
    const auto& trace = report_->trace;
    QStringList lines{QStringLiteral("position %1 of %2").arg(position).arg(format_count(trace.seq_len))};
    if (!trace.prompt_ids.empty())
        lines << QStringLiteral("token %1").arg(trace.prompt_ids[static_cast<std::size_t>(position)]);
    lines
        << QStringLiteral("kept by %1 of %2 heads").arg(keepers_[static_cast<std::size_t>(position)]).arg(num_chosen_);
    for (const auto& span : trace.spans)
        if (position >= span.begin && position < span.end)
            lines << QStringLiteral("in span “%1”").arg(QString::fromStdString(span.name));
    return lines.join(QLatin1Char('\n'));
}

} // namespace lava::gui
