#include "gui/export.h"

#include "gui/pictures.h"

#include "base/error.h"
#include "base/output_file.h"
#include "base/output_guard.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <system_error>

namespace lava::gui {

namespace {

std::vector<Picture> pictures(const SharedReport& report, std::optional<std::size_t> only_policy, std::int64_t budget)
{
    const auto all = measures(*report);
    const auto& loss = all.front();
    const auto span = span_to_mark(report->trace);
    std::vector<Picture> result{comparison_picture(report, loss, QStringLiteral("loss_vs_budget"))};
    for (const auto& measure : all) {
        if (span && measure.key == "survival_" + report->trace.spans[*span].name)
            result.push_back(comparison_picture(report, measure, QStringLiteral("survival_vs_budget")));
        if (measure.key == "kl")
            result.push_back(comparison_picture(report, measure, QStringLiteral("kl_vs_budget")));
    }
    for (std::size_t policy = 0; policy < report->policies.size(); ++policy) {
        if (only_policy && policy != *only_policy)
            continue;
        const auto place = nearest_budget(report->policies[policy], budget);
        result.push_back(budget_picture(report, policy, place, span));
        result.push_back(layer_picture(report, policy, place, loss));
    }
    return result;
}

/// Two policies' names may become the same file name; the later ones are numbered.
QString unused_stem(const QString& stem, std::vector<QString>& used)
{
    auto free = stem;
    for (int number = 2; std::find(used.begin(), used.end(), free) != used.end(); ++number)
        free = QStringLiteral("%1-%2").arg(stem).arg(number);
    used.push_back(free);
    return free;
}

constexpr const char* kinds[] = {".png", ".svg", ".pdf", ".csv"};

std::string file_text(const Picture& picture, std::string_view kind)
{
    if (kind == ".csv")
        return picture.csv;
    return kind == ".png" ? png_text(picture) : kind == ".svg" ? svg_text(picture) : pdf_text(picture);
}

/// All of them appear, or none; returns how many files.
std::size_t write_pictures(const std::vector<Picture>& drawn, const std::filesystem::path& folder,
    const std::vector<std::filesystem::path>& inputs)
{
    std::vector<QString> used;
    std::vector<std::filesystem::path> files;
    for (const auto& picture : drawn) {
        const auto stem = unused_stem(picture.stem, used).toStdString();
        for (const char* kind : kinds)
            files.push_back(folder / (stem + kind));
    }
    refuse_same_files(files, inputs);
    std::vector<std::unique_ptr<OutputFile>> outputs; // all are written before any appears
    for (std::size_t i = 0; i < files.size(); ++i) {
        outputs.push_back(std::make_unique<OutputFile>(files[i]));
        outputs.back()->write(file_text(drawn[i / std::size(kinds)], kinds[i % std::size(kinds)]));
    }
    for (const auto& output : outputs)
        output->commit();
    return files.size();
}

void make_folder(const std::filesystem::path& folder)
{
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure)
        throw Error(folder.string() + ": the folder cannot be made: " + failure.message());
}

} // namespace

std::size_t export_report(const SharedReport& report, const std::filesystem::path& folder,
    std::optional<std::size_t> policy, std::optional<std::int64_t> budget,
    const std::vector<std::filesystem::path>& inputs)
{
    make_folder(folder);
    const auto grid = budget_grid(*report);
    return write_pictures(pictures(report, policy, budget.value_or(grid[grid.size() / 2])), folder, inputs);
}

std::size_t export_scores(std::vector<ReplayReport> reports, const ScoreChoice& choice,
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& inputs)
{
    const auto drawn = score_pictures(std::move(reports), choice);
    make_folder(folder);
    return write_pictures(drawn, folder, inputs);
}

} // namespace lava::gui
