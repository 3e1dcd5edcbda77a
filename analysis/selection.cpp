#include "analysis/selection.h"

#include "base/error.h"
#include "base/formatted.h"
#include "traces/recorded_part.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <set>

namespace lava {

namespace {

std::string trimmed(std::string_view text)
{
    const auto first = text.find_first_not_of(" \t\n\r");
    if (first == std::string_view::npos)
        return {};
    return std::string(text.substr(first, text.find_last_not_of(" \t\n\r") - first + 1));
}

/// Takes what stands before `separator` off the front of `text`.
std::string_view take(std::string_view& text, char separator)
{
    const std::string_view head = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(text.size(), head.size() + 1));
    return head;
}

/// Takes the first assignment off the front; a file's name may hold commas.
std::string_view take_assignment(std::string_view& text)
{
    const bool takes_the_rest = trimmed(text.substr(0, text.find('='))) == "file";
    const std::size_t end = takes_the_rest ? text.size() : std::min(text.size(), assignment_end(text));
    const std::string_view head = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    return head;
}

std::vector<std::pair<std::string, std::string>> parse_parameters(std::string_view text, std::string_view whole)
{
    std::vector<std::pair<std::string, std::string>> parameters;
    while (!text.empty()) {
        std::string_view item = take_assignment(text);
        if (item.find('=') == std::string_view::npos)
            throw UsageError("policy '" + std::string(whole) + "': expected NAME[@VARIANT][:KEY=VALUE,...], found '"
                + trimmed(item) + "' where KEY=VALUE should be");
        const std::string key = trimmed(take(item, '='));
        parameters.emplace_back(key, without_brackets(trimmed(item)));
    }
    return parameters;
}

bool parse_number(const std::string& text, double& number)
{
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

/// "0.20" and ".2" are the same value.
bool same_value(const std::string& a, const std::string& b)
{
    double number_a = 0, number_b = 0;
    return a == b || (parse_number(a, number_a) && parse_number(b, number_b) && number_a == number_b);
}

std::string policies_of(std::span<const ReplayReport> reports)
{
    std::set<std::string> seen;
    std::string list;
    for (const ReplayReport& report : reports) {
        for (const PolicyReplay& replay : report.policies) {
            if (seen.insert(replay.policy).second)
                list += (list.empty() ? "" : ", ") + replay.policy;
        }
    }
    return list.empty() ? "none" : list;
}

std::string files_of(std::span<const ReplayReport> reports)
{
    std::string list;
    for (const ReplayReport& report : reports)
        list += (list.empty() ? "" : ", ") + report.file;
    return list;
}

using Chosen = std::set<const PolicyReplay*>;

void choose(std::span<const ReplayReport> reports, const std::string& text, Chosen& chosen)
{
    const PolicySpelling spelling = parse_policy_spelling(text);
    std::map<Match, Chosen> found;
    for (const ReplayReport& report : reports) {
        for (const PolicyReplay& replay : report.policies)
            found[replay.policy == text ? Match::same : match(spelling, replay)].insert(&replay);
    }
    Chosen& best = found[Match::same].empty() ? found[Match::contained] : found[Match::same];
    if (best.empty())
        throw Error(files_of(reports) + ": no policy '" + text + "'; there are " + policies_of(reports));
    chosen.merge(best);
}

Chosen choose_policies(std::span<const ReplayReport> reports, const Filter& filter)
{
    Chosen chosen;
    for (const std::string& text : filter.policies)
        choose(reports, text, chosen);
    if (!filter.policies.empty())
        return chosen;
    for (const ReplayReport& report : reports) {
        for (const PolicyReplay& replay : report.policies)
            chosen.insert(&replay);
    }
    return chosen;
}

/// What the filter's budgets name of a policy's own; all where it has none.
std::set<std::int64_t> wanted_budgets(const ReplayReport& report, const PolicyReplay& replay, const Filter& filter)
{
    if (filter.budgets.empty())
        return {replay.budgets.begin(), replay.budgets.end()};
    std::set<std::int64_t> wanted;
    for (const BudgetItem& item : filter.budgets) {
        const auto named = budgets_named(item, replay.budgets, report.trace.seq_len);
        wanted.insert(named.begin(), named.end());
    }
    return wanted;
}

void check_budgets(std::span<const ReplayReport> reports, const Filter& filter, const Chosen& chosen)
{
    std::set<std::int64_t> known;
    std::vector<bool> found(filter.budgets.size());
    for (const ReplayReport& report : reports) {
        for (const PolicyReplay& replay : report.policies) {
            if (!chosen.contains(&replay) || !compared_as(replay, filter.match))
                continue;
            known.insert(replay.budgets.begin(), replay.budgets.end());
            for (std::size_t i = 0; i < found.size(); ++i)
                found[i] = found[i] || !budgets_named(filter.budgets[i], replay.budgets, report.trace.seq_len).empty();
        }
    }
    std::string list;
    for (const std::int64_t budget : known)
        list += (list.empty() ? "" : ", ") + std::to_string(budget);
    for (std::size_t i = 0; i < found.size(); ++i) {
        if (!found[i])
            throw Error(files_of(reports) + ": no budget " + filter.budgets[i].text + "; there are "
                + (list.empty() ? "none" : list));
    }
}

} // namespace

std::size_t assignment_end(std::string_view assignments)
{
    int depth = 0;
    for (std::size_t i = 0; i < assignments.size(); ++i) {
        if (assignments[i] == ',' && depth <= 0)
            return i;
        depth += assignments[i] == '[' ? 1 : assignments[i] == ']' ? -1 : 0;
    }
    return std::string_view::npos;
}

std::string_view without_brackets(std::string_view value)
{
    const bool bracketed = value.size() > 1 && value.front() == '[' && value.back() == ']';
    return bracketed ? value.substr(1, value.size() - 2) : value;
}

PolicySpelling parse_policy_spelling(std::string_view text)
{
    const std::string_view whole = text;
    std::string_view head = take(text, ':');
    PolicySpelling spelling;
    spelling.name = trimmed(take(head, '@'));
    spelling.variant = trimmed(head);
    if (spelling.name.empty())
        throw UsageError("policy '" + std::string(whole) + "': expected NAME[@VARIANT][:KEY=VALUE,...], found no name");
    spelling.parameters = parse_parameters(text, whole);
    return spelling;
}

Match match(const PolicySpelling& spelling, const PolicyReplay& replay)
{
    if (spelling.name != replay.name || spelling.variant != replay.variant)
        return Match::none;
    for (const auto& given : spelling.parameters) {
        const auto agrees = [&](const auto& parameter) {
            return parameter.first == given.first && same_value(parameter.second, given.second);
        };
        if (std::ranges::none_of(replay.parameters, agrees))
            return Match::none;
    }
    // What the report's own spelling mentions differs from the defaults: the same policy mentions it too.
    for (const auto& own : parse_policy_spelling(replay.policy).parameters) {
        const auto mentions = [&](const auto& given) { return given.first == own.first; };
        if (std::ranges::none_of(spelling.parameters, mentions))
            return Match::contained;
    }
    return Match::same;
}

bool compared_as(const PolicyReplay& replay, std::string_view wanted)
{
    return wanted.empty() || replay.match == "both" || replay.match == wanted;
}

ReplayReport compared_at(ReplayReport report, std::string_view wanted)
{
    std::set<std::string> have_wanted_twin;
    for (const PolicyReplay& replay : report.policies) {
        if (replay.match == wanted)
            have_wanted_twin.insert(replay.policy);
    }
    std::vector<PolicyReplay> policies;
    std::map<std::size_t, std::size_t> places; // new places of the policies whose ranking went along
    for (std::size_t i = 0; i < report.policies.size(); ++i) {
        if (!compared_as(report.policies[i], wanted) && have_wanted_twin.contains(report.policies[i].policy))
            continue;
        PolicyReplay& replay = policies.emplace_back(std::move(report.policies[i]));
        const auto owner = replay.ranking_of < 0 ? i : static_cast<std::size_t>(replay.ranking_of);
        const auto [place, is_first] = places.try_emplace(owner, policies.size() - 1);
        if (is_first && owner != i)
            replay.ranking = std::move(report.policies[owner].ranking);
        replay.ranking_of = is_first ? -1 : static_cast<std::int64_t>(place->second);
    }
    report.policies = std::move(policies);
    return report;
}

std::string policy_named(std::span<const ReplayReport> reports, const std::string& spelling)
{
    Chosen chosen;
    choose(reports, spelling, chosen);
    std::set<std::string> names;
    for (const PolicyReplay* replay : chosen)
        names.insert(replay->policy);
    if (names.size() > 1)
        throw Error(files_of(reports) + ": '" + spelling + "' names several policies; expected one: " + *names.begin()
            + ", " + *std::next(names.begin()));
    return *names.begin();
}

std::vector<std::int64_t> layer_places(const ReplayReport& report, std::span<const std::int64_t> layers)
{
    const std::int64_t count = report.trace.shape.num_layers;
    std::vector<std::int64_t> places;
    for (const std::int64_t asked : layers) {
        std::int64_t place = asked < 0 ? asked + count : 0;
        while (asked >= 0 && place < count && layer_number(report.trace, place) != asked)
            ++place;
        if (place < 0 || place >= count)
            throw Error(formatted("{}: --layer: expected -{} to {}, found {}", report.file, count,
                layer_number(report.trace, count - 1), asked));
        if (std::ranges::count(places, place) == 0)
            places.push_back(place);
    }
    return places;
}

std::vector<Cell> all_cells(const ReplayReport& report)
{
    return select_cells(std::span(&report, 1), {});
}

std::vector<Cell> select_cells(std::span<const ReplayReport> reports, const Filter& filter)
{
    const Chosen chosen = choose_policies(reports, filter);
    check_budgets(reports, filter, chosen);
    std::vector<Cell> cells;
    for (const ReplayReport& report : reports) {
        for (std::size_t policy = 0; policy < report.policies.size(); ++policy) {
            const PolicyReplay& replay = report.policies[policy];
            const bool wanted = chosen.contains(&replay) && compared_as(replay, filter.match);
            if (!wanted)
                continue;
            const std::set<std::int64_t> budgets = wanted_budgets(report, replay, filter);
            for (std::size_t budget = 0; budget < replay.budgets.size(); ++budget) {
                if (budgets.contains(replay.budgets[budget]))
                    cells.push_back({report, policy, budget});
            }
        }
    }
    return cells;
}

} // namespace lava
