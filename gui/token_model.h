#pragma once

#include "gui/sweep.h"

#include <QAbstractListModel>

namespace lava::gui {

/// The prompt's tokens, each with the share of the chosen heads that keep it.
class TokenModel : public QAbstractListModel
{
    Q_OBJECT
public:
    static constexpr int share_role = Qt::UserRole; ///< of the chosen heads, in [0, 1]
    static constexpr int in_span_role = Qt::UserRole + 1; ///< whether the marked span covers it

    using QAbstractListModel::QAbstractListModel;

    void set_report(SharedReport report);
    void set_cell(std::size_t policy, std::size_t budget, const HeadChoice& choice);
    void set_span(std::optional<std::size_t> span); ///< index into the trace's spans

    const QString& text(int position) const { return texts_[static_cast<std::size_t>(position)]; }
    double share(int position) const;
    bool in_span(int position) const;
    std::optional<Span> span() const;
    const HeadChoice& choice() const { return choice_; }

    int rowCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;

private:
    QString tool_tip(int position) const;

    SharedReport report_;
    std::vector<QString> texts_; // [seq_len]
    std::vector<std::int32_t> keepers_; // [seq_len]
    std::int64_t num_chosen_ = 1;
    HeadChoice choice_;
    std::optional<std::size_t> span_;
};

/// A token's bytes as text; bytes that are no UTF-8 by themselves (part of a character) as "⟨e2 80⟩".
QString token_text(const std::string& bytes);

} // namespace lava::gui
