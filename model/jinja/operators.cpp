#include "model/jinja/operators.h"

#include "base/error.h"
#include "model/jinja/builtins.h"
#include "model/jinja/text.h"

#include <algorithm>
#include <cmath>

namespace lava::jinja {

namespace {

[[noreturn]] void refuse(const std::string& name, const Value& left, const Value& right)
{
    throw Error("'" + name + "' between a " + left.type_name() + " and a " + right.type_name() + " is not supported");
}

Value floating(double value)
{
    return Value(Value::Storage(value));
}

/// Rounded down, as Python divides.
std::int64_t floor_divide(std::int64_t a, std::int64_t b)
{
    return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

Value divide(const std::string& name, const Value& left, const Value& right)
{
    if (right.number() == 0) {
        throw Error("a division by 0");
    }
    if (name == "/") {
        return floating(left.number() / right.number());
    }
    if (left.is<double>() || right.is<double>()) {
        const double quotient = std::floor(left.number() / right.number());
        return floating(name == "//" ? quotient : left.number() - quotient * right.number());
    }
    const std::int64_t a = left.integer(), b = right.integer();
    if (b == -1) {
        return name == "%" ? Value::integer(0) : apply_unary("-", Value::integer(a));
    }
    const std::int64_t quotient = floor_divide(a, b);
    return Value::integer(name == "//" ? quotient : a - quotient * b);
}

Value calculate(const std::string& name, const Value& left, const Value& right)
{
    if (name == "/" || name == "//" || name == "%") {
        return divide(name, left, right);
    }
    if (left.is<double>() || right.is<double>()) {
        const double a = left.number(), b = right.number();
        return floating(name == "+" ? a + b : name == "-" ? a - b : a * b);
    }
    const std::int64_t a = left.integer(), b = right.integer();
    std::int64_t result = 0;
    const bool overflow = name == "+" ? __builtin_add_overflow(a, b, &result)
        : name == "-"                 ? __builtin_sub_overflow(a, b, &result)
                                      : __builtin_mul_overflow(a, b, &result);
    if (overflow) {
        throw Error("a number beyond 64 bits");
    }
    return Value::integer(result);
}

Value repeat(const std::string& text, std::int64_t times)
{
    const std::int64_t count = std::max<std::int64_t>(times, 0);
    if (!text.empty() && count > (64 << 20) / std::ssize(text)) {
        throw Error("a text repeated too often");
    }
    std::string result;
    for (std::int64_t i = 0; i < (text.empty() ? 0 : count); ++i) {
        result += text;
    }
    return Value::string(std::move(result));
}

Value add(const Value& left, const Value& right)
{
    if (left.is_string() && right.is_string()) {
        return Value::string(bounded(*left.as_string() + *right.as_string()));
    }
    if (left.is_list() && right.is_list()) {
        List result = *left.as_list();
        if (result.size() + right.as_list()->size() > 1'000'000) {
            throw Error("a list of more than 1000000 elements");
        }
        result.insert(result.end(), right.as_list()->begin(), right.as_list()->end());
        return Value::list(std::move(result));
    }
    refuse("+", left, right);
}

std::optional<bool> compare(const std::string& name, const Value& left, const Value& right)
{
    if (name == "==" || name == "!=") {
        return equal(left, right) == (name == "==");
    }
    if (name == "in" || name == "not in") {
        return contains(right, left) == (name == "in");
    }
    if (name == "<" || name == ">=") {
        return less(left, right) == (name == "<");
    }
    if (name == ">" || name == "<=") {
        return less(right, left) == (name == ">");
    }
    return std::nullopt;
}

} // namespace

Value apply_unary(const std::string& name, const Value& value)
{
    if (name == "not") {
        return Value::boolean(!value.truthy());
    }
    if (!value.is_number()) {
        throw Error("'" + name + "' of a " + value.type_name() + " is not supported");
    }
    if (value.is<double>()) {
        return floating(name == "-" ? -value.number() : value.number());
    }
    return calculate(name, Value::integer(0), Value::integer(value.integer()));
}

Value apply_binary(const std::string& name, const Value& left, const Value& right)
{
    if (const std::optional<bool> comparison = compare(name, left, right)) {
        return Value::boolean(*comparison);
    }
    if (name == "~") {
        return Value::string(bounded(to_text(left) + to_text(right)));
    }
    if (left.is_number() && right.is_number()) {
        return calculate(name, left, right);
    }
    if (name == "*" && left.is_string() && right.is<std::int64_t>()) {
        return repeat(*left.as_string(), right.integer());
    }
    if (name == "+") {
        return add(left, right);
    }
    refuse(name, left, right);
}

Value item_of(const Value& object, const Value& key)
{
    if (key.is_string() || object.is_undefined()) {
        return member_of(object, key.is_string() ? *key.as_string() : to_text(key));
    }
    const bool indexed = object.is_list() || object.is_string();
    if (!indexed || !(key.is<std::int64_t>() || key.is<bool>())) {
        return Value::undefined(to_text(key));
    }
    const List characters = object.is_string() ? elements_of(object) : List();
    const List& elements = object.is_string() ? characters : *object.as_list();
    const std::int64_t size = std::ssize(elements);
    const std::int64_t at = key.integer() < 0 ? key.integer() + size : key.integer();
    return at >= 0 && at < size ? elements[static_cast<std::size_t>(at)] : Value::undefined(to_text(key));
}

Value slice_of(const Value& object, std::optional<std::int64_t> begin, std::optional<std::int64_t> end,
    std::optional<std::int64_t> step)
{
    if (!object.is_list() && !object.is_string()) {
        throw Error("a slice of a " + object.type_name() + " is not supported");
    }
    const List elements = elements_of(object);
    const std::int64_t size = std::ssize(elements),
                       stride = std::clamp<std::int64_t>(step.value_or(1), -size - 1, size + 1);
    if (step == 0) {
        throw Error("a slice with step 0");
    }
    const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
    const auto within = [&](std::optional<std::int64_t> at, std::int64_t otherwise) {
        return !at ? otherwise : std::clamp(*at < 0 ? *at + size : *at, low, high);
    };
    const std::int64_t first = within(begin, stride > 0 ? low : high), last = within(end, stride > 0 ? high : low);
    List result;
    for (std::int64_t i = first; stride > 0 ? i < last : i > last; i += stride) {
        result.push_back(elements[static_cast<std::size_t>(i)]);
    }
    return object.is_list() ? Value::list(std::move(result)) : apply_filter("join", Value::list(std::move(result)), {});
}

} // namespace lava::jinja
