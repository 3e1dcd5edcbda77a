#include "gui/text_page.h"

#include "gui/colours.h"
#include "gui/measure.h"

#include "traces/recorded_part.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QVBoxLayout>

namespace lava::gui {

namespace {

QString patch(double share, const QString& text)
{
    return QStringLiteral("<span style='background:%1;color:#101010'>&nbsp;%2&nbsp;</span>")
        .arg(token_colour(share).name(), text);
}

QString capitalized(const QString& text)
{
    return text.left(1).toUpper() + text.mid(1);
}

/// What the colours stand for with this choice of heads.
QString colour_key(const Cell& cell, const HeadChoice& choice)
{
    const auto& trace = cell.report.trace;
    const auto grey = QStringLiteral("<span style='color:#8a8a8a'>%1</span>");
    const auto kind = head_kind(cell);
    if (choice.kv_head) {
        return QStringLiteral("%1 %2 of layer %3: %4 or %5.")
            .arg(capitalized(kind))
            .arg(cache_head_number(cell, *choice.kv_head))
            .arg(layer_number(trace, *choice.layer))
            .arg(patch(1, QStringLiteral("kept")), grey.arg(QStringLiteral("evicted")));
    }
    const auto heads = num_heads_chosen(cell.shape(), choice);
    const auto which = choice.layer
        ? QStringLiteral("the %1 %2s of layer %3").arg(heads).arg(kind).arg(layer_number(trace, *choice.layer))
        : QStringLiteral("all %1 %2s").arg(heads).arg(kind);
    return QStringLiteral("Of %1, kept by %2%3%4; %5.")
        .arg(which, patch(0.05, QStringLiteral("few")), patch(0.4, QStringLiteral("to")),
            patch(1, QStringLiteral("all")), grey.arg(QStringLiteral("by none")));
}

double survival(const Cell& cell, const Span& span, const HeadChoice& choice)
{
    if (choice.kv_head)
        return span_survival(cell, span, HeadId{*choice.layer, *choice.kv_head});
    return choice.layer ? span_survival(cell, span, *choice.layer) : span_survival(cell, span);
}

} // namespace

TextPage::TextPage(TokenModel& model, QWidget* parent)
    : QWidget(parent)
    , model_(model)
    , layer_(new QComboBox)
    , head_label_(new QLabel)
    , kv_head_(new QComboBox)
    , span_(new QComboBox)
    , description_(new QLabel)
    , view_(new TokenView(model))
{
    make_controls();
    layer_->setObjectName(QStringLiteral("layer"));
    kv_head_->setObjectName(QStringLiteral("kv_head"));
    span_->setObjectName(QStringLiteral("span"));
    description_->setObjectName(QStringLiteral("text_description"));
}

void TextPage::make_controls()
{
    auto* go = new QPushButton(QStringLiteral("Go to"));
    go->setToolTip(QStringLiteral("Scroll to the marked span (Ctrl+G)"));
    auto* row = new QHBoxLayout;
    row->addWidget(new QLabel(QStringLiteral("Layer")));
    row->addWidget(layer_);
    row->addWidget(head_label_);
    row->addWidget(kv_head_);
    row->addSpacing(18);
    row->addWidget(new QLabel(QStringLiteral("Marked span")));
    row->addWidget(span_);
    row->addWidget(go);
    row->addStretch();
    description_->setWordWrap(true);
    auto* all = new QVBoxLayout(this);
    all->addLayout(row);
    all->addWidget(description_);
    all->addWidget(view_, 1);
    connect(layer_, &QComboBox::currentIndexChanged, this, &TextPage::emit_choice);
    connect(kv_head_, &QComboBox::currentIndexChanged, this, &TextPage::emit_choice);
    connect(span_, &QComboBox::currentIndexChanged, this, [this](int index) {
        if (index >= 0)
            Q_EMIT span_chosen(static_cast<std::size_t>(index));
    });
    connect(go, &QPushButton::clicked, this, &TextPage::go_to_span);
}

void TextPage::show_report(const ReplayReport& report, std::optional<std::size_t> span)
{
    const QSignalBlocker layer_blocker(layer_), span_blocker(span_);
    layer_->clear();
    span_->clear();
    layer_->addItem(QStringLiteral("all"));
    for (std::int64_t layer = 0; layer < report.trace.shape.num_layers; ++layer)
        layer_->addItem(QString::number(layer_number(report.trace, layer)));
    for (const auto& marked : report.trace.spans)
        span_->addItem(QString::fromStdString(marked.name));
    if (span)
        span_->setCurrentIndex(static_cast<int>(*span));
}

void TextPage::show_heads(const Cell& cell)
{
    QStringList heads{QStringLiteral("all")};
    for (std::int64_t head = 0; head < cell.cache_heads(); ++head)
        heads << QString::number(cache_head_number(cell, head));
    QStringList shown;
    for (int item = 0; item < kv_head_->count(); ++item)
        shown << kv_head_->itemText(item);
    head_label_->setText(capitalized(head_kind(cell)));
    if (shown == heads) // the list may be the one that was just clicked on
        return;
    const QSignalBlocker blocker(kv_head_);
    kv_head_->clear();
    kv_head_->addItems(heads);
}

void TextPage::show_choice(const HeadChoice& choice)
{
    const QSignalBlocker layer_blocker(layer_), head_blocker(kv_head_);
    layer_->setCurrentIndex(choice.layer ? static_cast<int>(*choice.layer) + 1 : 0);
    kv_head_->setCurrentIndex(choice.kv_head ? static_cast<int>(*choice.kv_head) + 1 : 0);
    kv_head_->setEnabled(choice.layer.has_value());
}

HeadChoice TextPage::choice() const
{
    HeadChoice chosen;
    if (layer_->currentIndex() > 0)
        chosen.layer = layer_->currentIndex() - 1;
    if (chosen.layer && kv_head_->currentIndex() > 0)
        chosen.kv_head = kv_head_->currentIndex() - 1;
    return chosen;
}

void TextPage::emit_choice()
{
    const auto chosen = choice();
    show_choice(chosen);
    Q_EMIT heads_chosen(chosen);
}

void TextPage::describe(const Cell& cell)
{
    const auto& chosen = model_.choice();
    auto text = QStringLiteral("<b>%1</b> at B = %2. %3")
                    .arg(QString::fromStdString(cell.replay().policy).toHtmlEscaped())
                    .arg(cell.replay().budgets[cell.budget])
                    .arg(colour_key(cell, chosen));
    if (const auto span = model_.span())
        text += QStringLiteral(" <span style='color:%1'><b>%2</b></span>: %3 % of its entries kept.")
                    .arg(span_colour().name(), QString::fromStdString(span->name).toHtmlEscaped(),
                        QString::number(100 * survival(cell, *span, chosen), 'f', 1));
    description_->setText(text);
}

void TextPage::go_to_span()
{
    view_->scroll_to_span();
}

} // namespace lava::gui
