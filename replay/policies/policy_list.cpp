#include "replay/policies/policy_list.h"

#include "base/text.h"
#include "replay/policies/composition.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string_view>
#include <vector>

namespace lava {

namespace {

std::string assignment(const ParameterInfo& parameter)
{
    const auto* const required = parameter.kind == ParameterInfo::Kind::file ? "FILE" : "VALUE";
    return parameter.name + "=" + (parameter.default_value.empty() ? required : parameter.default_value);
}

std::string meaning(const ParameterInfo& parameter)
{
    return parameter.help + (parameter.choices.empty() ? "" : " (" + joined(parameter.choices) + ")");
}

std::string assignments(const VariantInfo& variant)
{
    std::vector<std::string> items;
    for (const auto& [name, value] : variant.defaults) {
        items.push_back(name + "=" + value);
    }
    return joined(items, ",");
}

bool is_required(const ParameterInfo& parameter)
{
    return parameter.default_value.empty();
}

// What compose is told to keep the same; empty where the policy is no choice of pieces, or must be told something
// first.
std::string composition(const PolicyInfo& info, const std::string& variant = "")
{
    const auto name = info.name + (variant.empty() ? "" : "@" + variant);
    return std::ranges::any_of(info.parameters, is_required) ? "" : composition_of(parse_policy(name));
}

std::string to_text(const PolicyInfo& info)
{
    std::string text = info.name + ": " + info.summary + " [" + info.citation + "]"
        + (info.in_default_set ? "\n" : " (only where named)\n");
    const auto kept
        = [](const std::string& pieces) { return pieces.empty() ? "" : "    keeps what " + pieces + " keeps\n"; };
    text += kept(composition(info));
    for (const auto& parameter : info.parameters) {
        auto name = assignment(parameter);
        name.resize(std::max<std::size_t>(name.size() + 1, 20), ' ');
        text += "    " + name + meaning(parameter) + "\n";
    }
    for (const auto& variant : info.variants) {
        text += "  " + info.name + "@" + variant.name + ": " + variant.summary + " (" + assignments(variant) + ")\n"
            + kept(composition(info, variant.name));
    }
    return text;
}

nlohmann::ordered_json or_null(const std::string& text)
{
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

nlohmann::ordered_json to_json(const PolicyInfo& info)
{
    nlohmann::ordered_json policy{{"name", info.name}, {"summary", info.summary}, {"citation", info.citation},
        {"composition", or_null(composition(info))}, {"parameters", nlohmann::ordered_json::array()},
        {"variants", nlohmann::ordered_json::array()}};
    for (const auto& parameter : info.parameters) {
        policy["parameters"].push_back({{"name", parameter.name}, {"default", parameter.default_value},
            {"choices", parameter.choices}, {"help", parameter.help}});
    }
    for (const auto& variant : info.variants) {
        nlohmann::ordered_json defaults = nlohmann::ordered_json::object();
        for (const auto& [name, value] : variant.defaults) {
            defaults[name] = value;
        }
        policy["variants"].push_back({{"name", variant.name}, {"summary", variant.summary}, {"defaults", defaults},
            {"composition", or_null(composition(info, variant.name))}});
    }
    return policy;
}

std::string markdown_row(const std::vector<std::string>& cells)
{
    std::string row = "|";
    for (const auto& cell : cells) {
        row += ' ';
        for (const char c : cell) {
            row += c == '|' ? "\\|" : std::string(1, c);
        }
        row += cell.empty() ? "|" : " |";
    }
    return row + "\n";
}

std::string markdown_header(const std::vector<std::string>& names)
{
    return markdown_row(names) + markdown_row(std::vector<std::string>(names.size(), "---"));
}

std::string code(const std::string& text)
{
    return text.empty() ? text : "`" + text + "`";
}

const ParameterInfo* find_parameter(const PolicyInfo& info, auto matches)
{
    const auto found = std::ranges::find_if(info.parameters, matches);
    return found == info.parameters.end() ? nullptr : &*found;
}

std::string queries(const std::string& count)
{
    return count == "1" ? "last query" : "last " + count + " queries";
}

// The parts of a trace that a policy reads with its default parameters, besides keys and values.
std::vector<std::string> parts_read(const Policy& policy)
{
    std::vector<std::string> parts;
    if (policy.query_rows() > 0) {
        parts.push_back(queries(std::to_string(policy.query_rows())));
    }
    const auto needs = policy.needs();
    const std::pair<bool, const char*> needed[]
        = {{needs.observed_attention, "column sums"}, {needs.output_projection, "W_O"},
            {needs.query_statistics, "query statistics"}, {needs.rope, "RoPE"}, {needs.repeat_maxima, "repeat pass"},
            {needs.repeat_maxima_plus, "repeat pass (plus)"}, {needs.all_queries, "all queries"}};
    for (const auto& [is_needed, name] : needed) {
        if (is_needed) {
            parts.emplace_back(name);
        }
    }
    return parts;
}

// A policy that must be told something cannot be made here: it reads what its base does, or its window's queries.
std::vector<std::string> parts_read(const PolicyInfo& info)
{
    if (std::ranges::none_of(info.parameters, is_required)) {
        return parts_read(*parse_policy(info.name).make());
    }
    const auto of_kind = [](ParameterInfo::Kind kind) { return [kind](const auto& p) { return p.kind == kind; }; };
    std::vector<std::string> parts;
    if (const auto* base = find_parameter(info, of_kind(ParameterInfo::Kind::policy))) {
        parts = parts_read(*parse_policy(base->default_value).make());
    } else if (const auto* window = find_parameter(info, [](const auto& p) { return p.name == "window"; })) {
        parts.push_back(queries(window->default_value));
    }
    if (find_parameter(info, of_kind(ParameterInfo::Kind::file)) != nullptr) {
        parts.emplace_back("its file");
    }
    return parts;
}

std::string policy_row(const PolicyInfo& info)
{
    std::vector<std::string> parameters;
    for (const auto& parameter : info.parameters) {
        if (parameter.name != "protect") {
            parameters.push_back(assignment(parameter));
        }
    }
    return markdown_row({code(info.name), info.summary, info.in_default_set ? "yes" : "", joined(parts_read(info)),
        code(joined(parameters)), code(composition(info)), info.citation});
}

// A parameter's meaning, and the policies that it has this meaning in.
struct Meaning
{
    std::string parameter;
    std::string text;
    std::vector<std::string> policies;
};

std::vector<Meaning> meanings()
{
    std::vector<Meaning> list;
    for (const auto& info : policies()) {
        for (const auto& parameter : info.parameters) {
            auto found = std::ranges::find_if(list, [&](const Meaning& known) {
                return known.parameter == parameter.name && known.text == meaning(parameter);
            });
            if (found == list.end()) {
                found = list.insert(list.end(), {parameter.name, meaning(parameter), {}});
            }
            found->policies.push_back(info.name);
        }
    }
    std::ranges::stable_sort(list, {}, &Meaning::parameter);
    return list;
}

// "all but full, external" where that is shorter.
std::string names_or_exceptions(const std::vector<std::string>& names)
{
    std::vector<std::string> others;
    for (const auto& info : policies()) {
        if (std::ranges::count(names, info.name) == 0) {
            others.push_back(info.name);
        }
    }
    return others.size() < names.size() ? "all but " + joined(others) : joined(names);
}

std::string to_markdown()
{
    std::string text = "### Policies\n\n"
        + markdown_header(
            {"policy", "what it keeps", "by default", "reads", "parameters", "keeps what this keeps", "source"});
    for (const auto& info : policies()) {
        text += policy_row(info);
    }
    text += "\n### Variants\n\n"
        + markdown_header({"variant", "what it is", "parameters that differ", "keeps what this keeps"});
    for (const auto& info : policies()) {
        for (const auto& variant : info.variants) {
            text += markdown_row({code(info.name + "@" + variant.name), variant.summary, code(assignments(variant)),
                code(composition(info, variant.name))});
        }
    }
    text += "\n### Parameters\n\n" + markdown_header({"parameter", "meaning", "policies"});
    for (const auto& [parameter, meaning, names] : meanings()) {
        text += markdown_row({code(parameter), meaning, names_or_exceptions(names)});
    }
    return text;
}

} // namespace

std::string policy_list(PolicyListFormat format)
{
    if (format == PolicyListFormat::markdown) {
        return to_markdown();
    }
    if (format == PolicyListFormat::json) {
        auto list = nlohmann::ordered_json::array();
        for (const auto& info : policies()) {
            list.push_back(to_json(info));
        }
        return list.dump(2) + "\n";
    }
    std::string text;
    for (const auto& info : policies()) {
        text += to_text(info);
    }
    return text;
}

} // namespace lava
