#pragma once

#include "replay/policies/registry.h"

// How the registry's tables are written.

namespace lava {

/// Policies that are a choice of compose's pieces, compose itself, and those that add a rule to such a choice.
std::vector<PolicyInfo> composed_policies();

/// Policies of files of their own that are replayed where none is named.
std::vector<PolicyInfo> baseline_policies();

/// Policies of files of their own that are replayed only where they are named.
std::vector<PolicyInfo> own_policies();

using Defaults = std::vector<std::pair<std::string, std::string>>;

template <typename P> std::unique_ptr<Policy> make(const PolicyParams& params)
{
    return std::make_unique<P>(params);
}

/// The parameters with protect, which every policy has that may rank an entry first.
inline std::vector<ParameterInfo> with_protection(std::vector<ParameterInfo> parameters)
{
    // a file's name takes the rest of a spelling, so that nothing may come behind it
    const bool file_is_last = !parameters.empty() && parameters.back().kind == ParameterInfo::Kind::file;
    parameters.insert(parameters.end() - (file_is_last ? 1 : 0), protect_parameter());
    return parameters;
}

template <typename P>
PolicyInfo row(std::string name, std::string summary, std::string citation, std::vector<VariantInfo> variants = {})
{
    return {std::move(name), std::move(summary), std::move(citation), with_protection(P::parameters()),
        std::move(variants), make<P>};
}

/// Replayed only where it is named.
inline PolicyInfo by_name_only(PolicyInfo info)
{
    info.in_default_set = false;
    return info;
}

/// A named set of defaults.
inline VariantInfo variant(std::string name, std::string summary, Defaults defaults = {})
{
    return {std::move(name), std::move(summary), std::move(defaults)};
}

/// kvpress 0.5.5's class of the same name: its defaults, and its way with windows and budgets.
template <typename P> VariantInfo kvpress(Defaults defaults = {})
{
    return {"kvpress", "as kvpress 0.5.5 has it", std::move(defaults), false, make<P>};
}

} // namespace lava
