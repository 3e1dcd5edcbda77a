#pragma once

#include <string>

namespace lava {

enum class PolicyListFormat
{
    text,
    json,
    markdown
};

/// What --list-policies prints: as text a block for each policy, as JSON an object for each, as Markdown the tables of
/// docs/policies.md.
std::string policy_list(PolicyListFormat format);

} // namespace lava
