#include "analysis/quantities.h"

#include "analysis/column_table.h"
#include "analysis/gain.h"
#include "analysis/oracle.h"
#include "analysis/summary.h"
#include "analysis/tables.h"
#include "base/error.h"
#include "tests/analysis/example_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace lava {

namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

void expect_rows(const std::string& table, const std::vector<Column>& columns)
{
    for (const Column& column : columns) {
        const ColumnRow* row = find_column(table, column.name);
        ASSERT_NE(row, nullptr) << column.name << " of " << table;
        EXPECT_GT(row->definition.size(), 5U) << column.name;
    }
}

std::string format_page()
{
    std::ifstream file(LAVA_SOURCE_DIR "/analysis/FORMAT.md");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST(Quantities, EveryColumnOfEveryTableHasARow)
{
    const ReplayReport report = example_report();
    const std::vector<Cell> cells = all_cells(report);
    expect_rows("table", comparison_table(cells).columns);
    expect_rows("layers", layer_table(cells).columns);
    expect_rows("heads", head_table(cells).columns);
    expect_rows("budgets", budget_table(cells).columns);
    expect_rows("map", budget_map(cells).columns);
    expect_rows("bounds", bound_table(cells, Detail::layer).columns);
    expect_rows("spans", span_table(cells, Detail::head).columns);
    expect_rows("gain", gain_columns({}, false));
    expect_rows("summary", summary_table(cells).columns);
    expect_rows("answers", answer_table({}).columns);
    expect_rows("retained", retained_columns());
    expect_rows("curves", oracle_table({}, "").columns);
}

TEST(Quantities, ARowIsFoundByNameByPatternAndByTable)
{
    EXPECT_EQ(find_column("table", "survival_needle")->column, "survival_NAME");
    EXPECT_EQ(find_column("map", "7")->unit, "percent");
    EXPECT_EQ(find_column("table", "7"), nullptr);
    EXPECT_EQ(find_column("table", "loss"), nullptr);
    EXPECT_THAT(find_column("heads", "head_output_l1_relative")->definition, StartsWith("head_output_l1 relative to"));
    EXPECT_THAT(find_column("curves", "head_output_l1_relative")->definition, StartsWith("Sum over heads"));
    EXPECT_EQ(find_column("summary", "kl_sd")->definition, "Standard deviation of kl over the prompts (n - 1)");
    EXPECT_EQ(find_column("summary", "kl_sd")->unit, "nats");
    EXPECT_EQ(find_column("summary", "kl_n")->unit, "prompts");
}

TEST(Quantities, NoNameAndNoPlaceInTheWindowIsTakenTwice)
{
    std::set<std::pair<std::string, std::string>> names;
    for (const ColumnRow& row : column_rows())
        EXPECT_TRUE(names.emplace(row.column, row.tables).second) << row.column;
    std::multiset<int> places;
    for (const LossColumn& column : loss_columns())
        places.insert(column.display.window_place);
    for (const ClosedLoopColumn& column : closed_loop_measures())
        places.insert(column.display.window_place);
    places.erase(0);
    EXPECT_THAT(std::set<int>(places.begin(), places.end()), SizeIs(places.size()));
}

TEST(Quantities, ThePageOnTheFormatNamesEveryArray)
{
    const std::string page = format_page();
    for_each_loss([&](const auto& loss) { EXPECT_THAT(page, HasSubstr(std::string(loss.name) + '`')); });
    const auto named = [&](const char* name, const auto&, const auto&, bool) { EXPECT_THAT(page, HasSubstr(name)); };
    const ClosedLoopReplay replay;
    const ClosedLoopDense dense;
    for_each_array(replay, {}, named);
    for_each_dense_array(dense, {}, named);
}

TEST(Quantities, TheTableOfColumnsSaysWhichTablesHaveThem)
{
    const Table all = column_table();
    const auto cell = [&](const std::string& name, std::size_t column) {
        for (const auto& row : all.rows) {
            if (row[0] == Value(name))
                return std::get<std::string>(row[column]);
        }
        return std::string("none");
    };
    EXPECT_EQ(cell("share", 2), "layers");
    EXPECT_EQ(cell("kl", 2), "table, summary, answers");
    EXPECT_EQ(cell("kl", 1), "nats");
    EXPECT_EQ(cell("kl", 4), "KL divergence from the whole cache, nats");
    EXPECT_EQ(cell("attn_out_l1_base_sd", 2), "gain");
    EXPECT_EQ(cell("survival_NAME", 2), "table");
    EXPECT_EQ(cell("0, 1, ...", 2), "map");
    EXPECT_EQ(cell("asked_sd", 2), "none"); // no table has it
    const std::string wanted[] = {"gain"};
    for (const auto& row : column_table(wanted).rows)
        EXPECT_EQ(row[2], Value("gain"));
    const std::string unknown[] = {"plot"};
    EXPECT_THROW(column_table(unknown), UsageError);
}

TEST(Quantities, HelpTellsDerivedColumnsOnce)
{
    const std::string help = column_help("summary");
    EXPECT_THAT(help, HasSubstr("  NAME_sd                 Standard deviation of NAME over the prompts (n - 1)\n"));
    EXPECT_THAT(help, Not(HasSubstr("kl_sd")));
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);)
        EXPECT_LE(line.size(), 125U) << line; // 120 characters, some of several bytes
    EXPECT_EQ(column_help("plot"), "");
}

TEST(Table, IsWrittenAsMarkdown)
{
    const Table table{{{"a"}, {"b|", false}}, {{std::string("x|y"), 0.5}, {std::int64_t{3}, Value()}}};
    EXPECT_EQ(to_markdown(table), "| a | b\\| |\n|---|---|\n| `x\\|y` | 0.5 |\n| `3` |  |\n");
}

} // namespace

} // namespace lava
