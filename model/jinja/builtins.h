#pragma once

#include "model/jinja/value.h"

#include <ctime>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace lava::jinja {

/// Positional and named arguments in the order of `names`; null where one is not given. Throws Error for what no name
/// takes.
std::vector<const Value*> bind(const Arguments& arguments, std::initializer_list<std::string_view> names);

/// value | name(arguments). Throws Error naming a filter that is not known.
Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
/// value is name(arguments). Throws Error naming a test that is not known.
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);
/// object.name(arguments) of strings and dicts. Throws Error naming a method that is not known.
Value call_method(const Value& object, const std::string& name, const Arguments& arguments);
/// range, namespace, dict, raise_exception and strftime_now, which tells the time `now` in local time.
Dict functions(std::time_t now);

/// object.name or object["name"]: undefined where there is none. Throws Error where the object is undefined.
Value member_of(const Value& object, const std::string& name);
/// What a loop runs over: elements, keys, characters. Throws Error where it cannot.
List elements_of(const Value& value);
/// An integer. Throws Error naming `what` where it is none.
std::int64_t integer_of(const Value& value, const std::string& what);
/// A string. Throws Error naming `what` where it is none.
const std::string& string_of(const Value& value, const std::string& what);

/// Throws Error where a text grows out of all bounds.
std::string bounded(std::string text);

} // namespace lava::jinja
