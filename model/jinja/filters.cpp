#include "base/error.h"
#include "model/jinja/builtins.h"
#include "model/jinja/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <unordered_map>

namespace lava::jinja {

namespace {

Value text(std::string value)
{
    return Value::string(bounded(std::move(value)));
}

/// What map(attribute=...), selectattr() and sort(attribute=...) name: "function.name".
Value attribute(Value value, const Value& path)
{
    for (const std::string& name : split(string_of(path, "attribute"), ".", -1)) {
        value = member_of(value, name);
    }
    return value;
}

/// The arguments behind the first `count` positional ones.
Arguments further(const Arguments& arguments, std::size_t count)
{
    Arguments rest = arguments;
    rest.positional.erase(rest.positional.begin(),
        rest.positional.begin() + static_cast<std::ptrdiff_t>(std::min(count, rest.positional.size())));
    return rest;
}

Value trim(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"chars"});
    const bool chosen = given[0] != nullptr && !given[0]->is<None>();
    return text(
        chosen ? strip(to_text(value), true, true, string_of(*given[0], "chars")) : strip(to_text(value), true, true));
}

Value default_value(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"default_value", "boolean"});
    const bool by_truth = given[1] != nullptr && given[1]->truthy();
    const bool missing = value.is_undefined() || (by_truth && !value.truthy());
    return !missing ? value : given[0] != nullptr ? *given[0] : Value::string("");
}

Value tojson(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
    for (const std::size_t other : {0u, 2u, 3u}) {
        if (given[other] != nullptr && given[other]->truthy()) {
            throw Error("tojson: only indent is supported");
        }
    }
    const bool lines = given[1] != nullptr && !given[1]->is<None>();
    const std::int64_t indent = lines ? integer_of(*given[1], "tojson: indent") : -1;
    return text(to_json(value, static_cast<int>(std::clamp<std::int64_t>(indent, -1, 16))));
}

Value length(const Value& value, const Arguments& arguments)
{
    bind(arguments, {});
    if (const std::string* string = value.as_string()) {
        return Value::integer(character_count(*string));
    }
    return Value::integer(std::ssize(elements_of(value)));
}

Value join(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"d", "attribute"});
    const std::string separator = given[0] != nullptr ? to_text(*given[0]) : "";
    std::string result;
    bool first = true;
    for (const Value& element : elements_of(value)) {
        result += (first ? "" : separator) + to_text(given[1] != nullptr ? attribute(element, *given[1]) : element);
        result = bounded(std::move(result));
        first = false;
    }
    return Value::string(result);
}

Value replace_filter(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"old", "new", "count"});
    if (given[0] == nullptr || given[1] == nullptr) {
        throw Error("replace: expected what to replace, and by what");
    }
    const std::int64_t most
        = given[2] != nullptr && !given[2]->is<None>() ? integer_of(*given[2], "replace: count") : -1;
    return text(replace(to_text(value), to_text(*given[0]), to_text(*given[1]), most));
}

Value end_of(const Value& value, bool last)
{
    const List elements = elements_of(value);
    return elements.empty() ? Value::undefined("") : last ? elements.back() : elements.front();
}

Value reversed(const Value& value, const Arguments& arguments)
{
    bind(arguments, {});
    List elements = elements_of(value);
    std::reverse(elements.begin(), elements.end());
    if (!value.is_string()) {
        return Value::list(std::move(elements));
    }
    std::string result;
    for (const Value& character : elements) {
        result += *character.as_string();
    }
    return Value::string(result);
}

Value to_integer(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"default"});
    const Value otherwise = given[0] != nullptr ? *given[0] : Value::integer(0);
    if (value.is_number()) {
        const bool fits = !value.is<double>() || std::abs(value.number()) < 9e18;
        return !fits             ? otherwise
            : value.is<double>() ? Value::integer(static_cast<std::int64_t>(value.number()))
                                 : Value::integer(value.integer());
    }
    const std::string digits = strip(to_text(value), true, true);
    std::int64_t result = 0;
    const char* end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data() + (digits.starts_with('+') ? 1 : 0), end, result);
    return read.ec == std::errc() && read.ptr == end ? Value::integer(result) : otherwise;
}

Value to_float(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"default"});
    if (value.is_number()) {
        return Value::Storage(value.number());
    }
    const std::string digits = strip(to_text(value), true, true);
    double result = 0;
    const char* end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, result);
    const bool whole = read.ec == std::errc() && read.ptr == end;
    return whole ? Value(Value::Storage(result)) : given[0] != nullptr ? *given[0] : Value(Value::Storage(0.0));
}

Value absolute(const Value& value, const Arguments& arguments)
{
    bind(arguments, {});
    if (value.is<double>()) {
        return Value::Storage(std::abs(value.number()));
    }
    const std::int64_t number = integer_of(value, "abs");
    return number < 0 && number != INT64_MIN ? Value::integer(-number) : value;
}

/// What map, select and their like go through: Jinja takes whatever counts as false, none too, for an empty list.
List elements_or_none(const Value& value)
{
    return value.truthy() ? elements_of(value) : List();
}

Value map(const Value& value, const Arguments& arguments)
{
    List result;
    const Value* by_attribute = find(arguments.named, "attribute");
    const Value* otherwise = find(arguments.named, "default");
    if (by_attribute == nullptr && arguments.positional.empty()) {
        throw Error("map: expected a filter's name or an attribute");
    }
    for (const Value& element : elements_or_none(value)) {
        if (by_attribute != nullptr) {
            const Value found = attribute(element, *by_attribute);
            result.push_back(found.is_undefined() && otherwise != nullptr ? *otherwise : found);
        } else {
            result.push_back(apply_filter(string_of(arguments.positional[0], "map"), element, further(arguments, 1)));
        }
    }
    return Value::list(std::move(result));
}

/// select, reject, selectattr, rejectattr
Value choose(const Value& value, const Arguments& arguments, bool wanted, bool by_attribute)
{
    const std::size_t skipped = by_attribute ? 1 : 0;
    if (arguments.positional.size() < skipped) {
        throw Error("selectattr: expected an attribute");
    }
    const bool has_test = arguments.positional.size() > skipped;
    List result;
    for (const Value& element : elements_or_none(value)) {
        const Value judged = by_attribute ? attribute(element, arguments.positional[0]) : element;
        const bool passes = has_test ? apply_test(string_of(arguments.positional[skipped], "the name of a test"),
                                judged, further(arguments, skipped + 1))
                                     : judged.truthy();
        if (passes == wanted) {
            result.push_back(element);
        }
    }
    return Value::list(std::move(result));
}

Value sort_key(const Value& value, const Value* by, bool exact_case)
{
    const Value key = by != nullptr && !by->is<None>() ? attribute(value, *by) : value;
    return key.is_string() && !exact_case ? Value::string(lower(*key.as_string())) : key;
}

Value sorted(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"reverse", "case_sensitive", "attribute"});
    const bool exact = given[1] != nullptr && given[1]->truthy();
    std::vector<std::pair<Value, Value>> keyed;
    for (const Value& element : elements_of(value)) {
        keyed.emplace_back(sort_key(element, given[2], exact), element);
        less(keyed.front().first, keyed.back().first); // throws where there is no order, which a sort must not meet
    }
    const bool backwards = given[0] != nullptr && given[0]->truthy();
    std::stable_sort(keyed.begin(), keyed.end(),
        [&](const auto& a, const auto& b) { return backwards ? less(b.first, a.first) : less(a.first, b.first); });
    List result;
    for (auto& element : keyed) {
        result.push_back(element.second);
    }
    return Value::list(std::move(result));
}

Value unique(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"case_sensitive", "attribute"});
    const bool exact = given[0] != nullptr && given[0]->truthy();
    List result, keys;
    for (const Value& element : elements_of(value)) {
        const Value key = sort_key(element, given[1], exact);
        if (std::none_of(keys.begin(), keys.end(), [&](const Value& known) { return equal(known, key); })) {
            keys.push_back(key);
            result.push_back(element);
        }
    }
    return Value::list(std::move(result));
}

Value items(const Value& value, const Arguments& arguments)
{
    bind(arguments, {});
    return value.is_undefined() ? Value::list({}) : call_method(value, "items", {});
}

Value dictsort(const Value& value, const Arguments& arguments)
{
    bind(arguments, {});
    const List pairs = elements_of(call_method(value, "items", {}));
    return sorted(Value::list(pairs), {{}, {{"attribute", Value::string("0")}}});
}

Value indent(const Value& value, const Arguments& arguments)
{
    const auto given = bind(arguments, {"width", "first", "blank"});
    const Value width = given[0] != nullptr ? *given[0] : Value::integer(4);
    const std::string margin = width.is_string()
        ? *width.as_string()
        : std::string(
            static_cast<std::size_t>(std::clamp<std::int64_t>(integer_of(width, "indent: width"), 0, 1000)), ' ');
    const bool first = given[1] != nullptr && given[1]->truthy(), blank = given[2] != nullptr && given[2]->truthy();
    std::string result;
    std::size_t number = 0;
    for (const std::string& line : split(to_text(value), "\n", -1)) {
        const bool indented = number == 0 ? first : blank || !line.empty();
        result += (number == 0 ? "" : "\n") + (indented ? margin : "") + line;
        ++number;
    }
    return text(result);
}

using Filter = std::function<Value(const Value&, const Arguments&)>;

/// A filter of text that takes no arguments.
Filter of_text(std::string (*function)(std::string_view))
{
    return [function](const Value& value, const Arguments& arguments) {
        bind(arguments, {});
        return text(function(to_text(value)));
    };
}

const std::unordered_map<std::string, Filter>& filters()
{
    static const auto first = [](const Value& value, const Arguments&) { return end_of(value, false); };
    static const auto last = [](const Value& value, const Arguments&) { return end_of(value, true); };
    static const auto list = [](const Value& value, const Arguments&) { return Value::list(elements_of(value)); };
    static const auto same = [](std::string_view value) { return std::string(value); };
    static const auto chosen = [](bool wanted, bool by_attribute) {
        return [=](const Value& v, const Arguments& a) { return choose(v, a, wanted, by_attribute); };
    };
    static const std::unordered_map<std::string, Filter> result{{"trim", trim}, {"default", default_value},
        {"d", default_value}, {"tojson", tojson}, {"upper", of_text(upper)}, {"lower", of_text(lower)},
        {"capitalize", of_text(capitalize)}, {"title", of_text(title)}, {"string", of_text(same)},
        {"safe", of_text(same)}, {"length", length}, {"count", length}, {"first", first}, {"last", last},
        {"join", join}, {"replace", replace_filter}, {"list", list}, {"reverse", reversed}, {"int", to_integer},
        {"float", to_float}, {"abs", absolute}, {"map", map}, {"select", chosen(true, false)},
        {"reject", chosen(false, false)}, {"selectattr", chosen(true, true)}, {"rejectattr", chosen(false, true)},
        {"sort", sorted}, {"unique", unique}, {"items", items}, {"dictsort", dictsort}, {"indent", indent}};
    return result;
}

} // namespace

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments)
{
    const auto found = filters().find(name);
    if (found == filters().end()) {
        throw Error("the filter '" + name + "' is not supported");
    }
    return found->second(value, arguments);
}

} // namespace lava::jinja
