#pragma once

#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava {

/// A named set of defaults: "official" in lava@official.
struct VariantInfo
{
    std::string name;
    std::string summary;
    std::vector<std::pair<std::string, std::string>> defaults; ///< parameters that differ
    bool in_default_set = false; ///< replayed beside the policy itself when none is named
    std::unique_ptr<Policy> (*make)(const PolicyParams&)
        = nullptr; ///< where the variant takes the same parameters to another rule
};

/// The piece of compose that a parameter sets, where name or words differ.
struct PieceName
{
    std::string parameter;
    std::string piece; ///< compose's parameter
    std::vector<std::pair<std::string, std::string>> words = {}; ///< the parameter's value, the piece's; none: the same
};

/// What can be asked for by name.
struct PolicyInfo
{
    std::string name;
    std::string summary;
    std::string citation;
    std::vector<ParameterInfo> parameters;
    std::vector<VariantInfo> variants;
    std::unique_ptr<Policy> (*make)(const PolicyParams&);
    bool in_default_set = true; ///< replayed when no policy is named
    /// The choice of compose's pieces that the policy is, "compose:pool=none,score=columns", its parameters at their
    /// defaults; empty where it is none. make() is then given compose's parameters, and the policy's own behind them.
    std::string composition = {};
    std::vector<PieceName> pieces = {}; ///< of the parameters that compose knows otherwise
};

std::span<const PolicyInfo> policies();

/// A policy as it was asked for.
struct PolicySpec
{
    const PolicyInfo* info = nullptr;
    std::string variant; ///< empty: the toolkit's own
    PolicyParams params;
    bool is_required = true; ///< or else left out, with a note, where the trace lacks what it reads
    std::string canonical; ///< NAME[@VARIANT][:key=value,...], only what differs from the defaults, in declared order

    std::unique_ptr<Policy> (*maker)(const PolicyParams&) = nullptr;
    bool has_own_rule = false; ///< the variant's rule is not the policy's

    /// Throws Error where a file parameter names what is no regular file: a device may never end.
    std::unique_ptr<Policy> make() const;
};

/// Parses NAME[@VARIANT][:key=value,...]. A file parameter takes the rest of the string. Throws UsageError for an
/// unknown name, variant or parameter (listing the known ones), or a value that does not fit.
PolicySpec parse_policy(std::string_view text);

/// The specs replayed when none is named: every policy of the default set, its variants of that set behind it.
std::vector<PolicySpec> default_policies();

} // namespace lava
