#include "gui/token_view.h"

#include "gui/chart_parts.h"
#include "gui/colours.h"

#include <QHelpEvent>
#include <QPainter>
#include <QScrollBar>
#include <QToolTip>

#include <algorithm>

namespace lava::gui {

namespace {

constexpr double margin = 14;

QFont text_font()
{
    return chart_font(10.5);
}

/// What stands on the page for a token: line breaks become a mark, so that they can carry a colour too.
QString visible_text(const QString& text)
{
    QString shown = text;
    shown.replace(QLatin1Char('\n'), QStringLiteral("↵"));
    shown.replace(QLatin1Char('\t'), QStringLiteral("    "));
    return shown;
}

/// A word is a token and those after it that do not begin with a space.
bool starts_word(const QString& text)
{
    return text.isEmpty() || text.front().isSpace();
}

bool ends_line(const QString& text)
{
    return text.endsWith(QLatin1Char('\n'));
}

/// Where the next token goes.
struct Flow
{
    double x = margin;
    int line = 0;

    void break_line()
    {
        x = margin;
        ++line;
    }
    void make_room(double width, double right)
    {
        if (x + width > right && x > margin)
            break_line();
    }
};

} // namespace

TokenView::TokenView(TokenModel& model, QWidget* parent)
    : QAbstractScrollArea(parent)
    , model_(model)
{
    viewport()->setBackgroundRole(QPalette::NoRole);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOn);
    connect(&model, &QAbstractItemModel::modelReset, this, [this] {
        lay_out();
        is_scrolled_ = false;
    });
    connect(&model, &QAbstractItemModel::dataChanged, viewport(), qOverload<>(&QWidget::update));
}

int TokenView::end_of_word(int first) const
{
    const auto count = model_.rowCount();
    int end = first + 1;
    while (end < count && !starts_word(model_.text(end)) && !ends_line(model_.text(end - 1)))
        ++end;
    return end;
}

void TokenView::lay_out()
{
    const QFontMetricsF metrics(text_font());
    const auto width_of = [&](int token) { return metrics.horizontalAdvance(visible_text(model_.text(token))); };
    const auto right = viewport()->width() - margin;
    const auto count = model_.rowCount();
    places_.clear();
    Flow flow;
    for (int first = 0; first < count;) {
        const auto end = end_of_word(first);
        double word_width = 0;
        for (int token = first; token < end; ++token)
            word_width += width_of(token);
        flow.make_room(word_width, right);
        for (int token = first; token < end; ++token) {
            flow.make_room(width_of(token), right); // a word longer than the line breaks between its tokens
            const bool starts_line = flow.x == margin;
            const auto width = metrics.horizontalAdvance(shown_text(token, starts_line));
            places_.push_back({flow.x, flow.line, width, starts_line});
            flow.x += width;
        }
        if (ends_line(model_.text(end - 1)))
            flow.break_line();
        first = end;
    }
    num_lines_ = flow.line + 1;
    update_scroll_bar();
    viewport()->update();
}

QString TokenView::shown_text(int token, bool starts_line) const
{
    const auto text = visible_text(model_.text(token));
    return starts_line && text.size() > 1 && text.front() == QLatin1Char(' ') ? text.mid(1) : text;
}

double TokenView::line_height() const
{
    return QFontMetricsF(text_font()).height() + 7;
}

void TokenView::update_scroll_bar()
{
    const auto total = static_cast<int>(num_lines_ * line_height() + 2 * margin);
    verticalScrollBar()->setRange(0, std::max(0, total - viewport()->height()));
    verticalScrollBar()->setPageStep(viewport()->height());
    verticalScrollBar()->setSingleStep(static_cast<int>(line_height()));
}

void TokenView::scroll_to_span()
{
    const auto span = model_.span();
    if (!span || places_.empty() || span->begin >= static_cast<std::int64_t>(places_.size()))
        return;
    const auto line = places_[static_cast<std::size_t>(span->begin)].line;
    verticalScrollBar()->setValue(static_cast<int>(line * line_height()) - viewport()->height() / 3);
}

QRectF TokenView::box(int position) const
{
    const auto& place = places_[static_cast<std::size_t>(position)];
    return {place.x, margin + place.line * line_height() - verticalScrollBar()->value(), place.width, line_height()};
}

void TokenView::draw_token(QPainter& painter, int position) const
{
    const auto where = box(position);
    const auto share = model_.share(position);
    if (share > 0)
        painter.fillRect(where.adjusted(0, 2, 0, -4), token_colour(share));
    painter.setPen(share > 0 ? QColor(0x101010) : QColor(0x8a8a8a));
    painter.drawText(where.adjusted(0, 0, 20, -2), Qt::AlignLeft | Qt::AlignVCenter | Qt::TextSingleLine,
        shown_text(position, places_[static_cast<std::size_t>(position)].starts_line));
    if (model_.in_span(position))
        painter.fillRect(QRectF(where.left(), where.bottom() - 4, where.width(), 2.6), span_colour());
}

void TokenView::draw(QPainter& painter) const
{
    painter.fillRect(viewport()->rect(), Qt::white);
    painter.setFont(text_font());
    const auto top = verticalScrollBar()->value() - margin;
    const auto first_line = static_cast<int>(top / line_height()) - 1;
    const auto last_line = static_cast<int>((top + viewport()->height()) / line_height()) + 1;
    const auto before = [](const Place& place, int line) { return place.line < line; };
    const auto first = std::lower_bound(places_.begin(), places_.end(), first_line, before);
    for (auto place = first; place != places_.end() && place->line <= last_line; ++place)
        draw_token(painter, static_cast<int>(place - places_.begin()));
}

void TokenView::paintEvent(QPaintEvent*)
{
    if (!is_scrolled_) // only now is the size known that the lines were broken for
        scroll_to_span();
    is_scrolled_ = true;
    QPainter painter(viewport());
    draw(painter);
}

void TokenView::resizeEvent(QResizeEvent*)
{
    lay_out();
}

int TokenView::token_at(const QPoint& where) const
{
    for (std::size_t position = 0; position < places_.size(); ++position)
        if (box(static_cast<int>(position)).contains(where))
            return static_cast<int>(position);
    return -1;
}

bool TokenView::viewportEvent(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QAbstractScrollArea::viewportEvent(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const auto position = token_at(help->pos());
    if (position < 0)
        QToolTip::hideText();
    else
        QToolTip::showText(help->globalPos(), model_.data(model_.index(position), Qt::ToolTipRole).toString(), this);
    return true;
}

} // namespace lava::gui
