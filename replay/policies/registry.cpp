#include "replay/policies/registry.h"

#include "analysis/selection.h"
#include "base/formatted.h"
#include "replay/policies/composition.h"
#include "replay/policies/policy_rows.h"

#include "base/error.h"
#include "base/output_file.h"

#include <algorithm>
#include <set>

namespace lava {

namespace {

std::vector<PolicyInfo> make_policies()
{
    auto rows = baseline_policies();
    for (const auto& part : {composed_policies(), own_policies()}) {
        rows.insert(rows.end(), part.begin(), part.end());
    }
    return rows;
}

template <typename Items> std::string names_of(const Items& items)
{
    std::string names;
    for (const auto& item : items) {
        names += (names.empty() ? "" : ", ") + item.name;
    }
    return names.empty() ? "none" : names;
}

template <typename Items> const auto* find_named(const Items& items, std::string_view name)
{
    const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.name == name; });
    return found == items.end() ? nullptr : &*found;
}

std::string_view trimmed(std::string_view text)
{
    const auto begin = text.find_first_not_of(" \t");
    return begin == std::string_view::npos ? std::string_view()
                                           : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// base=[snapkv:window=16] names its policy without the brackets, in canonical spelling.
std::string canonical_base(std::string_view text)
{
    constexpr int most = 8;
    static thread_local int around = 0; // policies whose base is being read
    struct Level
    {
        Level() { ++around; }
        ~Level() { --around; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;
    };
    const Level level;
    if (around > most) {
        throw UsageError(formatted("base: expected at most {} policies around one, found more", most));
    }
    return parse_policy(without_brackets(text)).canonical;
}

const ParameterInfo& parameter_named(const PolicyInfo& info, std::string_view assignment)
{
    const auto equals = assignment.find('=');
    const auto key = trimmed(assignment.substr(0, equals));
    const auto* parameter = find_named(info.parameters, key);
    if (parameter == nullptr) {
        throw UsageError("policy " + info.name + ": unknown parameter '" + std::string(key)
            + "'; known: " + names_of(info.parameters));
    }
    if (equals == std::string_view::npos) {
        throw UsageError("policy " + info.name + ": " + parameter->name + ": expected KEY=VALUE, found no value");
    }
    return *parameter;
}

void apply(PolicySpec& spec, const ParameterInfo& parameter, std::string_view value, std::set<std::string>& given)
{
    const auto& info = *spec.info;
    if (!given.insert(parameter.name).second) {
        throw UsageError("policy " + info.name + ": " + parameter.name + ": expected one value, found two");
    }
    const bool is_policy = parameter.kind == ParameterInfo::Kind::policy;
    spec.params.set(parameter, info.name, is_policy ? canonical_base(value) : value);
}

void apply_all(PolicySpec& spec, std::string_view assignments)
{
    std::set<std::string> given;
    while (true) {
        const auto& parameter = parameter_named(*spec.info, assignments);
        const bool takes_the_rest = parameter.kind == ParameterInfo::Kind::file; // a file's name may hold commas
        const auto end = takes_the_rest ? std::string_view::npos : assignment_end(assignments);
        const auto assignment = assignments.substr(0, end);
        apply(spec, parameter, trimmed(assignment.substr(assignment.find('=') + 1)), given);
        if (end == std::string_view::npos) {
            return;
        }
        assignments.remove_prefix(end + 1);
    }
}

PolicyParams default_params(const PolicyInfo& info, const VariantInfo* variant)
{
    PolicyParams params;
    for (const auto& parameter : info.parameters) {
        if (!parameter.default_value.empty()) {
            params.set(parameter, info.name, parameter.default_value);
        }
    }
    if (variant != nullptr) {
        for (const auto& [name, value] : variant->defaults) {
            params.set(*find_named(info.parameters, name), info.name, value);
        }
    }
    return params;
}

std::string canonical_spelling(const PolicySpec& spec, const PolicyParams& defaults)
{
    auto text = spec.info->name + (spec.variant.empty() ? "" : "@" + spec.variant);
    auto separator = ':';
    for (const auto& parameter : spec.info->parameters) {
        const auto& value = spec.params.text(parameter.name);
        if (!defaults.has(parameter.name) || value != defaults.text(parameter.name)) {
            const bool nested
                = parameter.kind == ParameterInfo::Kind::policy && value.find_first_of(",:") != std::string::npos;
            text += separator + parameter.name + '=' + (nested ? "[" + value + "]" : value);
            separator = ',';
        }
    }
    return text;
}

} // namespace

std::span<const PolicyInfo> policies()
{
    static const auto rows = make_policies();
    return rows;
}

std::unique_ptr<Policy> PolicySpec::make() const
{
    for (const auto& parameter : info->parameters) {
        if (parameter.kind == ParameterInfo::Kind::file && params.has(parameter.name)) {
            const auto& file = params.text(parameter.name);
            if (is_device_or_pipe(file)) { // what is not there is named where it is read
                throw Error(file + ": cannot be read: policy " + info->name
                    + " expects a regular file, found a device, a pipe or a socket");
            }
        }
    }
    return maker(info->composition.empty() ? params : pieces_of(*this));
}

PolicySpec parse_policy(std::string_view text)
{
    const auto colon = text.find(':');
    const auto head = trimmed(text.substr(0, colon));
    const auto at = head.find('@');
    const auto name = trimmed(head.substr(0, at));
    PolicySpec spec;
    spec.info = find_named(policies(), name);
    if (spec.info == nullptr) {
        throw UsageError("unknown policy '" + std::string(name) + "'; known: " + names_of(policies()));
    }
    const VariantInfo* variant = nullptr;
    if (at != std::string_view::npos) {
        spec.variant = trimmed(head.substr(at + 1));
        variant = find_named(spec.info->variants, spec.variant);
        if (variant == nullptr) {
            throw UsageError("policy " + spec.info->name + ": unknown variant '" + spec.variant
                + "'; known: " + names_of(spec.info->variants));
        }
    }
    spec.has_own_rule = variant != nullptr && variant->make != nullptr;
    spec.maker = spec.has_own_rule ? variant->make : spec.info->make;
    const auto defaults = default_params(*spec.info, variant);
    spec.params = defaults;
    if (colon != std::string_view::npos) {
        apply_all(spec, text.substr(colon + 1));
    }
    for (const auto& parameter : spec.info->parameters) {
        if (!spec.params.has(parameter.name)) {
            throw UsageError("policy " + spec.info->name + ": parameter '" + parameter.name + "' must be given");
        }
    }
    spec.canonical = canonical_spelling(spec, defaults);
    return spec;
}

std::vector<PolicySpec> default_policies()
{
    std::vector<PolicySpec> specs;
    for (const auto& info : policies()) {
        if (info.in_default_set) {
            specs.push_back(parse_policy(info.name));
        }
        for (const auto& variant : info.variants) {
            if (variant.in_default_set) {
                specs.push_back(parse_policy(info.name + "@" + variant.name));
            }
        }
    }
    for (auto& spec : specs) {
        spec.is_required = false;
    }
    return specs;
}

} // namespace lava
