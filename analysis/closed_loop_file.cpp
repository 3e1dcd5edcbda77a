#include "analysis/closed_loop_file.h"

#include "analysis/quantities.h"
#include "analysis/report_checks.h"
#include "analysis/report_texts.h"
#include "base/formatted.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>

namespace lava {

namespace {

constexpr const char* group_name = "closed_loop";

ClosedLoopSizes sizes_of(const ReplayReport& report, std::size_t budgets)
{
    const auto& dense = report.closed_loop;
    return {static_cast<std::int64_t>(budgets), report.trace.shape.num_layers, dense.steps(),
        std::ssize(dense.generated_ids)};
}

// Arrays of S - 1 are left out where S is 1.

auto writer(const h5::Group& group, h5::WriteOptions options = packed)
{
    return [&group, options](const char* name, const auto& shape, const auto& values, bool) {
        if (!values.empty())
            group.write(name, shape, values, options);
    };
}

auto reader(const h5::Group& group)
{
    return [&group](const char* name, const auto& shape, auto& values, bool optional) {
        using Value = typename std::remove_reference_t<decltype(values)>::value_type;
        if (count_of(shape) > 0 && (!optional || group.has(name)))
            values = group.read<Value>(name, shape);
    };
}

/// Refuses answers that have an id below 0 other than the -1 behind their end, or that do not start with one.
void check_answers(const std::string& where, std::span<const std::int64_t> ids, std::int64_t length)
{
    for (std::int64_t i = 0; i < std::ssize(ids); ++i) {
        const auto id = ids[static_cast<std::size_t>(i)];
        const bool is_first = i % length == 0, behind = !is_first && ids[static_cast<std::size_t>(i) - 1] < 0;
        if (behind ? id != -1 : id < (is_first ? 0 : -1))
            throw Error(
                where + "expected ids of at least 0, then -1 behind an answer's end, found " + std::to_string(id));
    }
}

/// Refuses arrays of the wrong length, numbers that are not finite or below 0, ids below 0 but behind an answer's end.
auto checker(const std::filesystem::path& file, const std::string& path)
{
    return [file, path](const char* name, const auto& shape, const auto& values, bool optional) {
        const auto where = file.string() + ": " + path + "/" + name + ": ";
        const auto expected = count_of(shape), found = static_cast<std::int64_t>(values.size());
        if (found != expected && !(optional && found == 0))
            throw Error(where + "expected " + std::to_string(expected) + " values, found " + std::to_string(found));
        if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::vector<std::int64_t>>) {
            if (name == std::string_view("generated_ids"))
                return check_answers(where, values, shape.back());
        }
        for (const auto value : values) {
            if (!std::isfinite(static_cast<double>(value)) || value < 0)
                throw Error(
                    formatted("{}expected finite numbers of at least 0, found {}", where, std::to_string(value)));
        }
    };
}

void check_token_texts(const std::filesystem::path& file, const ClosedLoopDense& dense)
{
    const auto where = file.string() + ": /" + group_name + "/token_ids: ";
    if (std::ranges::adjacent_find(dense.token_ids, std::greater_equal<>()) != dense.token_ids.end())
        throw Error(where + "expected ascending ids, found others");
    if (!dense.token_texts.empty() && dense.token_texts.size() != dense.token_ids.size())
        throw Error(formatted("{}expected as many ids as token_texts, {}, found {}", where, dense.token_texts.size(),
            dense.token_ids.size()));
}

/// Answers have texts or not, all of them.
void check_answer_texts(const std::filesystem::path& file, const ReplayReport& report)
{
    const bool any = report.closed_loop.generated_text.has_value();
    for (std::size_t i = 0; i < report.policies.size(); ++i) {
        const auto& replay = report.policies[i];
        const auto expected = any ? replay.budgets.size() : 0, found = replay.closed_loop.generated_texts.size();
        if (found != expected)
            throw Error(file.string() + ": /policies/" + policy_name(i) + "/" + group_name
                + "/generated_texts: expected " + std::to_string(expected) + " texts, found " + std::to_string(found));
    }
}

} // namespace

void write_closed_loop(const h5::Group& root, const ReplayReport& report)
{
    const auto& dense = report.closed_loop;
    if (dense.empty())
        return;
    const auto group = root.create_group(group_name);
    write_ids(group, "input_ids", dense.input_ids);
    if (dense.next_id >= 0)
        write_ids(group, "next_id", {dense.next_id});
    write_ids(group, "end_ids", dense.end_ids);
    write_ids(group, "token_ids", dense.token_ids);
    write_texts(group, "token_texts", dense.token_texts);
    if (dense.generated_text)
        write_texts(group, "generated_text", {*dense.generated_text});
    for_each_dense_array(dense, sizes_of(report, 1), writer(group));
}

void write_closed_loop(
    const h5::Group& policy, const ReplayReport& report, const PolicyReplay& replay, h5::WriteOptions options)
{
    if (report.closed_loop.empty())
        return;
    const auto group = policy.create_group(group_name);
    write_texts(group, "generated_texts", replay.closed_loop.generated_texts);
    for_each_array(replay.closed_loop, sizes_of(report, replay.budgets.size()), writer(group, options));
}

void read_closed_loop(const h5::Group& root, ReplayReport& report)
{
    if (!root.has(group_name))
        return;
    const auto group = root.group(group_name);
    auto& dense = report.closed_loop;
    dense.input_ids = group.read<std::int64_t>("input_ids", {-1});
    const auto steps = dense.steps();
    if (steps < 1 || steps > most_steps)
        group.fail("input_ids", formatted("expected 1 to {} ids, found {}", most_steps, steps));
    if (group.has("next_id"))
        dense.next_id = group.read<std::int64_t>("next_id", {1}).front();
    dense.end_ids = read_ids(group, "end_ids");
    dense.token_ids = read_ids(group, "token_ids");
    dense.token_texts = read_texts(group, "token_texts");
    if (const auto texts = read_texts(group, "generated_text"); !texts.empty())
        dense.generated_text = texts.front();
    dense.generated_ids = read_ids(group, "generated_ids"); // as many as there are tell how long answers are
    if (std::ssize(dense.generated_ids) > most_steps)
        group.fail("generated_ids",
            "expected at most " + std::to_string(most_steps) + " ids, found "
                + std::to_string(dense.generated_ids.size()));
    for_each_dense_array(dense, sizes_of(report, 1), reader(group));
}

void read_closed_loop(const h5::Group& policy, const ReplayReport& report, PolicyReplay& replay)
{
    if (report.closed_loop.empty())
        return;
    const auto group = policy.group(group_name);
    replay.closed_loop.generated_texts = read_texts(group, "generated_texts");
    for_each_array(replay.closed_loop, sizes_of(report, replay.budgets.size()), reader(group));
}

void check_closed_loop(const std::filesystem::path& file, const ReplayReport& report)
{
    const auto& dense = report.closed_loop;
    if (dense.empty())
        return;
    const auto path = std::string("/") + group_name;
    if (dense.next_id < -1)
        throw Error(
            formatted("{}: {}/next_id: expected an id of at least 0, found {}", file.string(), path, dense.next_id));
    for_each_dense_array(dense, sizes_of(report, 1), checker(file, path));
    check_token_texts(file, dense);
    for (std::size_t i = 0; i < report.policies.size(); ++i) {
        const auto& replay = report.policies[i];
        for_each_array(replay.closed_loop, sizes_of(report, replay.budgets.size()),
            checker(file, "/policies/" + policy_name(i) + path));
    }
    check_answer_texts(file, report);
}

} // namespace lava
