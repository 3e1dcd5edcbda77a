#pragma once

#include "gui/token_model.h"

#include <QAbstractScrollArea>

namespace lava::gui {

/// The prompt as flowing text; each token's background by how many of the chosen heads keep it, the marked span
/// underlined.
class TokenView : public QAbstractScrollArea
{
    Q_OBJECT
public:
    explicit TokenView(TokenModel& model, QWidget* parent = nullptr);

    void scroll_to_span();
    /// Draws what is visible now onto another device.
    void draw(QPainter& painter) const;

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    bool viewportEvent(QEvent* event) override;

private:
    struct Place
    {
        double x = 0;
        int line = 0;
        double width = 0;
        bool starts_line = false; ///< drawn without its leading space
    };

    void lay_out();
    int end_of_word(int first) const;
    QString shown_text(int token, bool starts_line) const;
    void update_scroll_bar();
    double line_height() const;
    QRectF box(int position) const; ///< in viewport coordinates
    void draw_token(QPainter& painter, int position) const;
    int token_at(const QPoint& where) const; ///< -1 where there is none

    TokenModel& model_;
    std::vector<Place> places_; // [seq_len]
    int num_lines_ = 0;
    bool is_scrolled_ = false; // to the span, after a report was opened
};

} // namespace lava::gui
