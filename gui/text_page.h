#pragma once

#include "gui/token_view.h"

#include <QWidget>

class QComboBox;
class QLabel;

namespace lava::gui {

/// The prompt's text with the choice of heads that colour it and of the span that is marked.
class TextPage : public QWidget
{
    Q_OBJECT
public:
    explicit TextPage(TokenModel& model, QWidget* parent = nullptr);

    void show_report(const ReplayReport& report, std::optional<std::size_t> span);
    void show_heads(const Cell& cell); ///< the heads that keep caches under the cell's policy; emits nothing
    void show_choice(const HeadChoice& choice); ///< emits nothing
    void describe(const Cell& cell);
    void go_to_span();
    const TokenView& view() const { return *view_; }

Q_SIGNALS:
    void heads_chosen(lava::gui::HeadChoice choice);
    void span_chosen(std::size_t span);

private:
    void make_controls();
    void emit_choice();
    HeadChoice choice() const;

    TokenModel& model_;
    QComboBox* layer_ = nullptr;
    QLabel* head_label_ = nullptr;
    QComboBox* kv_head_ = nullptr;
    QComboBox* span_ = nullptr;
    QLabel* description_ = nullptr;
    TokenView* view_ = nullptr;
};

} // namespace lava::gui
