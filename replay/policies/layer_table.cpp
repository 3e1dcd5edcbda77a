#include "replay/policies/layer_table.h"

#include "base/error.h"
#include "base/formatted.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string_view>

namespace lava {

namespace {

// The budget of a line "layer,budget".
double budget_of(const std::string& file, std::string_view line, std::size_t layer)
{
    const auto expected = formatted("{},", layer);
    double budget = -1;
    if (line.substr(0, expected.size()) == expected) {
        line.remove_prefix(expected.size());
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), budget);
        if (error != std::errc() || end != line.data() + line.size() || !std::isfinite(budget)) {
            budget = -1;
        }
    }
    if (budget < 0) {
        throw Error(formatted(
            "{}: line {}: expected {}BUDGET with a budget of at least 0, found '{}'", file, layer + 2, expected, line));
    }
    return budget;
}

} // namespace

std::vector<double> read_layer_table(const std::string& file)
{
    std::ifstream in(file);
    std::string line;
    if (std::filesystem::is_directory(file) || !in || !std::getline(in, line)) {
        throw Error(file + ": cannot be read");
    }
    const auto without_return = [&] {
        if (!line.empty() && line.back() == '\r') {
            line.pop_back();
        }
        return std::string_view(line);
    };
    if (without_return() != "layer,budget") {
        throw Error(file + ": line 1: expected the header layer,budget, found '" + line + "'");
    }
    std::vector<double> budgets;
    while (std::getline(in, line) && !without_return().empty()) {
        budgets.push_back(budget_of(file, line, budgets.size()));
    }
    if (std::accumulate(budgets.begin(), budgets.end(), 0.0) <= 0) {
        throw Error(file + ": expected budgets that are not all 0");
    }
    return budgets;
}

} // namespace lava
