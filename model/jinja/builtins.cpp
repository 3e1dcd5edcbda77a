#include "model/jinja/builtins.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/jinja/text.h"

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>

namespace lava::jinja {

std::vector<const Value*> bind(const Arguments& arguments, std::initializer_list<std::string_view> names)
{
    std::vector<const Value*> result(names.size(), nullptr);
    if (arguments.positional.size() > names.size()) {
        throw Error(formatted("expected at most {} arguments, found {}", names.size(), arguments.positional.size()));
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
        result[i] = &arguments.positional[i];
    }
    for (const auto& [name, value] : arguments.named) {
        const auto known = std::find(names.begin(), names.end(), name);
        if (known == names.end()) {
            throw Error("an argument that is not known: " + name);
        }
        result[static_cast<std::size_t>(known - names.begin())] = &value;
    }
    return result;
}

std::string bounded(std::string text)
{
    constexpr std::size_t most = 64 << 20;
    if (text.size() > most) {
        throw Error(formatted("a text of more than {} bytes", most));
    }
    return text;
}

std::int64_t integer_of(const Value& value, const std::string& what)
{
    if (!value.is<std::int64_t>() && !value.is<bool>()) {
        throw Error(what + ": expected an integer, found a " + value.type_name());
    }
    return value.integer();
}

const std::string& string_of(const Value& value, const std::string& what)
{
    if (!value.is_string()) {
        throw Error(what + ": expected a string, found a " + value.type_name());
    }
    return *value.as_string();
}

Value member_of(const Value& object, const std::string& name)
{
    if (const Undefined* missing = std::get_if<Undefined>(&object.storage())) {
        throw Error("'" + missing->name + "' is undefined, and so has no '" + name + "'");
    }
    const Value* found = nullptr;
    if (const Dict* dict = object.as_dict()) {
        found = find(*dict, name);
    } else if (const Namespace* space = object.as_namespace()) {
        found = find(space->members, name);
    } else if (const List* list = object.as_list();
               list != nullptr && name.size() == 1 && name[0] >= '0' && name[0] <= '9') {
        const auto index = static_cast<std::size_t>(name[0] - '0'); // the attribute "0" of map() and sort()
        found = index < list->size() ? &(*list)[index] : nullptr;
    }
    return found != nullptr ? *found : Value::undefined(name);
}

List elements_of(const Value& value)
{
    if (const List* list = value.as_list()) {
        return *list;
    }
    List result;
    if (const Dict* dict = value.as_dict()) {
        for (const auto& member : *dict) {
            result.push_back(Value::string(member.first));
        }
    } else if (const std::string* text = value.as_string()) {
        const std::vector<std::size_t> at = character_offsets(*text);
        for (std::size_t i = 0; i + 1 < at.size(); ++i) {
            result.push_back(Value::string(text->substr(at[i], at[i + 1] - at[i])));
        }
    } else if (!value.is_undefined()) {
        throw Error("a " + value.type_name() + " has no elements");
    }
    return result;
}

namespace {

using Test = std::function<bool(const Value&, const Value&)>;

std::int64_t remainder(const Value& value, const Value& by)
{
    const std::int64_t divisor = integer_of(by, "divisibleby");
    if (divisor == 0) {
        throw Error("divisibleby: 0 divides nothing");
    }
    return divisor == -1 ? 0 : integer_of(value, "divisibleby") % divisor;
}

/// Each with the number of its arguments.
const std::unordered_map<std::string, std::pair<std::size_t, Test>>& tests()
{
    using V = const Value&;
    static const Test eq = [](V a, V b) { return equal(a, b); };
    static const Test ne = [](V a, V b) { return !equal(a, b); };
    static const Test lt = [](V a, V b) { return less(a, b); };
    static const Test gt = [](V a, V b) { return less(b, a); };
    static const Test le = [](V a, V b) { return !less(b, a); };
    static const Test ge = [](V a, V b) { return !less(a, b); };
    static const Test sequence = [](V a, V) { return a.is_list() || a.is_dict() || a.is_string(); };
    static const std::unordered_map<std::string, std::pair<std::size_t, Test>> result{
        {"defined", {0, [](V a, V) { return !a.is_undefined(); }}},
        {"undefined", {0, [](V a, V) { return a.is_undefined(); }}}, {"none", {0, [](V a, V) { return a.is<None>(); }}},
        {"string", {0, [](V a, V) { return a.is_string(); }}}, {"number", {0, [](V a, V) { return a.is_number(); }}},
        {"integer", {0, [](V a, V) { return a.is<std::int64_t>(); }}},
        {"float", {0, [](V a, V) { return a.is<double>(); }}}, {"boolean", {0, [](V a, V) { return a.is<bool>(); }}},
        {"true", {0, [](V a, V) { return a.is<bool>() && a.truthy(); }}},
        {"false", {0, [](V a, V) { return a.is<bool>() && !a.truthy(); }}},
        {"mapping", {0, [](V a, V) { return a.is_dict(); }}}, {"sequence", {0, sequence}},
        {"iterable", {0, [](V a, V b) { return a.is_undefined() || sequence(a, b); }}},
        {"callable", {0, [](V a, V) { return a.as_function() != nullptr; }}},
        {"odd", {0, [](V a, V) { return integer_of(a, "odd") % 2 != 0; }}},
        {"even", {0, [](V a, V) { return integer_of(a, "even") % 2 == 0; }}},
        {"lower", {0, [](V a, V) { return to_text(a) == lower(to_text(a)) && to_text(a) != upper(to_text(a)); }}},
        {"upper", {0, [](V a, V) { return to_text(a) == upper(to_text(a)) && to_text(a) != lower(to_text(a)); }}},
        {"divisibleby", {1, [](V a, V b) { return remainder(a, b) == 0; }}}, {"eq", {1, eq}}, {"equalto", {1, eq}},
        {"==", {1, eq}}, {"ne", {1, ne}}, {"!=", {1, ne}}, {"lt", {1, lt}}, {"lessthan", {1, lt}}, {"<", {1, lt}},
        {"gt", {1, gt}}, {"greaterthan", {1, gt}}, {">", {1, gt}}, {"le", {1, le}}, {"<=", {1, le}}, {"ge", {1, ge}},
        {">=", {1, ge}}, {"in", {1, [](V a, V b) { return contains(b, a); }}}};
    return result;
}

Value strings(const std::vector<std::string>& parts)
{
    List result;
    for (const std::string& part : parts) {
        result.push_back(Value::string(part));
    }
    return Value::list(std::move(result));
}

bool has_affix(const std::string& text, const Value& affix, bool front)
{
    if (const List* several = affix.as_list()) {
        return std::any_of(
            several->begin(), several->end(), [&](const Value& one) { return has_affix(text, one, front); });
    }
    const std::string& one = string_of(affix, front ? "startswith" : "endswith");
    return front ? text.starts_with(one) : text.ends_with(one);
}

Value stripped(const std::string& text, const std::string& name, const Arguments& arguments)
{
    const auto given = bind(arguments, {"chars"});
    const bool left = name != "rstrip", right = name != "lstrip";
    return Value::string(given[0] != nullptr && !given[0]->is<None>()
            ? strip(text, left, right, string_of(*given[0], name))
            : strip(text, left, right));
}

Value split_method(const std::string& text, const Arguments& arguments)
{
    const auto given = bind(arguments, {"sep", "maxsplit"});
    const std::int64_t most = given[1] != nullptr ? integer_of(*given[1], "split") : -1;
    if (given[0] == nullptr || given[0]->is<None>()) {
        if (most >= 0) {
            throw Error("split: at white space, a limit is not supported");
        }
        return strings(split_space(text));
    }
    const std::string& separator = string_of(*given[0], "split");
    if (separator.empty()) {
        throw Error("split: the separator is empty");
    }
    return strings(split(text, separator, most));
}

Value replace_method(const std::string& text, const Arguments& arguments)
{
    const auto given = bind(arguments, {"old", "new", "count"});
    if (given[0] == nullptr || given[1] == nullptr || string_of(*given[0], "replace").empty()) {
        throw Error("replace: expected what to replace, and by what");
    }
    return Value::string(bounded(replace(text, string_of(*given[0], "replace"), string_of(*given[1], "replace"),
        given[2] != nullptr ? integer_of(*given[2], "replace") : -1)));
}

Value find_method(const std::string& text, const Arguments& arguments)
{
    const auto given = bind(arguments, {"sub"});
    const std::size_t at = given[0] != nullptr ? text.find(string_of(*given[0], "find")) : std::string::npos;
    return Value::integer(at == std::string::npos ? -1 : character_count(std::string_view(text).substr(0, at)));
}

Value string_method(const std::string& text, const std::string& name, const Arguments& arguments)
{
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
        return stripped(text, name, arguments);
    }
    if (name == "split") {
        return split_method(text, arguments);
    }
    if (name == "replace") {
        return replace_method(text, arguments);
    }
    if (name == "find") {
        return find_method(text, arguments);
    }
    if (name == "startswith" || name == "endswith") {
        const auto given = bind(arguments, {"affix"});
        return Value::boolean(has_affix(text, given[0] != nullptr ? *given[0] : Value(), name == "startswith"));
    }
    if (name == "join") {
        const auto given = bind(arguments, {"iterable"});
        return apply_filter("join", given[0] != nullptr ? *given[0] : Value(), {{Value::string(text)}, {}});
    }
    if (name == "upper" || name == "lower" || name == "title" || name == "capitalize") {
        return apply_filter(name, Value::string(text), arguments);
    }
    if (name == "splitlines") {
        bind(arguments, {});
        std::vector<std::string> lines = split(replace(text, "\r\n", "\n", -1), "\n", -1);
        if (lines.back().empty()) {
            lines.pop_back();
        }
        return strings(lines);
    }
    throw Error("the method '" + name + "' of a string is not supported");
}

Value dict_method(const Dict& dict, const std::string& name, const Arguments& arguments)
{
    if (name == "get") {
        const auto given = bind(arguments, {"key", "default"});
        const Value* found
            = given[0] != nullptr && given[0]->is_string() ? find(dict, *given[0]->as_string()) : nullptr;
        return found != nullptr ? *found : given[1] != nullptr ? *given[1] : Value::none();
    }
    bind(arguments, {});
    List result;
    for (const auto& [key, value] : dict) {
        if (name == "items") {
            result.push_back(Value::tuple({Value::string(key), value}));
        } else {
            result.push_back(name == "keys" ? Value::string(key) : value);
        }
    }
    return Value::list(std::move(result));
}

Value range(const Arguments& arguments)
{
    constexpr std::int64_t most = 100000; // the most that Jinja's sandbox allows
    const auto given = bind(arguments, {"start", "stop", "step"});
    if (given[0] == nullptr) {
        throw Error("range: expected a number");
    }
    const std::int64_t first = given[1] != nullptr ? integer_of(*given[0], "range") : 0;
    const std::int64_t stop = integer_of(given[1] != nullptr ? *given[1] : *given[0], "range");
    const std::int64_t step = given[2] != nullptr ? integer_of(*given[2], "range") : 1;
    const bool small = std::max({std::abs(first / 2), std::abs(stop / 2), std::abs(step / 2)}) < INT64_MAX / 4;
    if (step == 0 || !small || (stop - first) / step > most) {
        throw Error(formatted("range: expected a step other than 0 and at most {} numbers", most));
    }
    List result;
    for (std::int64_t i = first; step > 0 ? i < stop : i > stop; i += step) {
        result.push_back(Value::integer(i));
    }
    return Value::list(std::move(result));
}

Value strftime(std::time_t now, const Arguments& arguments)
{
    const auto given = bind(arguments, {"format"});
    const std::string format = given[0] != nullptr ? string_of(*given[0], "strftime_now") : "";
    std::tm local{};
    localtime_r(&now, &local);
    std::array<char, 256> buffer{};
    const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
    if (size == 0 && !format.empty()) {
        throw Error("strftime_now: a format that gives nothing, or too much: " + format.substr(0, 40));
    }
    return Value::string(std::string(buffer.data(), size));
}

} // namespace

bool apply_test(const std::string& name, const Value& value, const Arguments& arguments)
{
    const auto found = tests().find(name);
    if (found == tests().end()) {
        throw Error("the test '" + name + "' is not supported");
    }
    const auto& [count, test] = found->second;
    if (arguments.positional.size() != count || !arguments.named.empty()) {
        throw Error(formatted("the test '{}' takes {} arguments", name, count));
    }
    return test(value, count > 0 ? arguments.positional[0] : Value());
}

Value call_method(const Value& object, const std::string& name, const Arguments& arguments)
{
    if (const std::string* text = object.as_string()) {
        return string_method(*text, name, arguments);
    }
    const bool known = name == "get" || name == "items" || name == "keys" || name == "values";
    if (const Dict* dict = object.as_dict(); dict != nullptr && known) {
        return dict_method(*dict, name, arguments);
    }
    throw Error("the method '" + name + "' of a " + object.type_name() + " is not supported");
}

Dict functions(std::time_t now)
{
    Dict result;
    result.emplace_back("range", Value::function(range));
    result.emplace_back("namespace", Value::function([](const Arguments& arguments) {
        auto space = std::make_shared<Namespace>();
        for (const auto& [name, value] : arguments.named) {
            if (value.holds_namespace()) {
                throw Error("a namespace in a namespace is not supported");
            }
            set(space->members, name, value);
        }
        bind({arguments.positional, {}}, {});
        return Value(Value::Storage(std::move(space)));
    }));
    result.emplace_back("dict", Value::function([](const Arguments& arguments) {
        bind({arguments.positional, {}}, {});
        return Value::dict(arguments.named);
    }));
    result.emplace_back("raise_exception", Value::function([](const Arguments& arguments) -> Value {
        const auto given = bind(arguments, {"message"});
        throw Error("the template refuses the conversation: " + (given[0] != nullptr ? to_text(*given[0]) : ""));
    }));
    result.emplace_back(
        "strftime_now", Value::function([now](const Arguments& arguments) { return strftime(now, arguments); }));
    return result;
}

} // namespace lava::jinja
