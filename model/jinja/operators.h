#pragma once

#include "model/jinja/value.h"

#include <cstdint>
#include <optional>
#include <string>

namespace lava::jinja {

/// Python's operators: not, +, - / +, -, *, /, //, %, ~, ==, !=, <, <=, >, >=, in, not in. Throw Error where the
/// operands do not fit or a number leaves 64 bits.
Value apply_unary(const std::string& name, const Value& value);
Value apply_binary(const std::string& name, const Value& left, const Value& right);

/// object[key]: undefined where there is none, negative indices from the end.
Value item_of(const Value& object, const Value& key);
/// object[begin:end:step] of a list or a string.
Value slice_of(const Value& object, std::optional<std::int64_t> begin, std::optional<std::int64_t> end,
    std::optional<std::int64_t> step);

} // namespace lava::jinja
