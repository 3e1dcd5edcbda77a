#include "model/jinja/value.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace lava::jinja {

namespace {

/// Python's repr() of a float: the shortest digits that give it back.
std::string float_text(double value)
{
    if (std::isnan(value) || std::isinf(value)) {
        return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
    }
    const double size = std::abs(value);
    const bool scientific = size != 0 && (size < 1e-4 || size >= 1e16);
    std::array<char, 400> buffer{};
    const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
        scientific ? std::chars_format::scientific : std::chars_format::fixed);
    std::string text(buffer.data(), result.ptr);
    if (!scientific && text.find('.') == std::string::npos) {
        text += ".0";
    }
    return text;
}

/// Python's repr() of a string.
std::string quoted_text(const std::string& text)
{
    const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
    std::string result(1, quote);
    for (const char c : text) {
        if (c == quote || c == '\\') {
            result += {'\\', c};
        } else if (c == '\n' || c == '\r' || c == '\t') {
            result += {'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'};
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            constexpr std::string_view digits = "0123456789abcdef";
            result += {'\\', 'x', digits[static_cast<unsigned char>(c) >> 4], digits[c & 15]};
        } else {
            result += c;
        }
    }
    return result + quote;
}

std::string repr(const Value& value)
{
    const std::string* text = value.as_string();
    return text != nullptr ? quoted_text(*text) : to_text(value);
}

std::string dict_text(const Dict& dict)
{
    std::string result = "{";
    for (const auto& [key, member] : dict) {
        result += (result.size() > 1 ? ", " : "") + quoted_text(key) + ": " + repr(member);
    }
    return result + "}";
}

std::string list_text(const List& list, bool tuple)
{
    std::string result(1, tuple ? '(' : '[');
    for (const Value& element : list) {
        result += (result.size() > 1 ? ", " : "") + repr(element);
    }
    return result + (!tuple ? "]" : list.size() == 1 ? ",)" : ")");
}

/// Joins JSON elements as json.dumps() does.
class JsonLines
{
public:
    JsonLines(char open, char close, int indent, int depth)
        : text_(1, open)
        , close_(close)
        , indent_(indent)
        , depth_(depth)
    { }
    void add(const std::string& element)
    {
        text_ += (text_.size() == 1 ? "" : indent_ < 0 ? ", " : ",") + line(depth_ + 1) + element;
    }
    std::string finish() { return text_.size() == 1 ? text_ + close_ : text_ + line(depth_) + close_; }

private:
    std::string line(int depth) const
    {
        return indent_ < 0 ? std::string() : "\n" + std::string(static_cast<std::size_t>(indent_ * depth), ' ');
    }

    std::string text_;
    char close_;
    int indent_, depth_;
};

std::string json_text(const Value& value, int indent, int depth)
{
    if (const std::string* text = value.as_string()) {
        return nlohmann::json(*text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    if (const List* list = value.as_list()) {
        JsonLines lines('[', ']', indent, depth);
        for (const Value& element : *list) {
            lines.add(json_text(element, indent, depth + 1));
        }
        return lines.finish();
    }
    if (const Dict* dict = value.as_dict()) {
        JsonLines lines('{', '}', indent, depth);
        for (const auto& [key, member] : *dict) {
            lines.add(json_text(Value::string(key), indent, depth) + ": " + json_text(member, indent, depth + 1));
        }
        return lines.finish();
    }
    if (value.is<None>()) {
        return "null";
    }
    if (value.is<bool>()) {
        return value.truthy() ? "true" : "false";
    }
    if (value.is_number()) {
        return to_text(value);
    }
    throw Error("tojson: a value that JSON cannot say: " + value.type_name());
}

} // namespace

void Value::contain(const Value& element)
{
    constexpr int deepest = 200;
    depth_ = std::max(depth_, element.depth_ + 1);
    holds_namespace_ = holds_namespace_ || element.holds_namespace();
    if (depth_ > deepest) {
        throw Error(formatted("lists and dicts nested more than {} deep", deepest));
    }
}

Value Value::list(List values)
{
    Value result;
    for (const Value& element : values) {
        result.contain(element);
    }
    result.storage_ = std::make_shared<const List>(std::move(values));
    return result;
}

Value Value::tuple(List values)
{
    Value result = list(std::move(values));
    result.is_tuple_ = true;
    return result;
}

Value Value::dict(Dict members)
{
    Value result;
    for (const auto& [key, member] : members) {
        result.contain(member);
    }
    result.storage_ = std::make_shared<const Dict>(std::move(members));
    return result;
}

Value Value::function(Function function)
{
    return Storage(std::make_shared<const Function>(std::move(function)));
}

Value Value::from_json(const nlohmann::ordered_json& json)
{
    if (json.is_array()) {
        List values;
        for (const auto& element : json) {
            values.push_back(from_json(element));
        }
        return list(std::move(values));
    }
    if (json.is_object()) {
        Dict members;
        for (const auto& [key, member] : json.items()) {
            members.emplace_back(key, from_json(member));
        }
        return dict(std::move(members));
    }
    if (json.is_string()) {
        return string(json.get<std::string>());
    }
    if (json.is_boolean()) {
        return boolean(json.get<bool>());
    }
    if (json.is_number_integer()) {
        return integer(json.get<std::int64_t>());
    }
    return json.is_number() ? Value(Storage(json.get<double>())) : none();
}

const List* Value::as_list() const
{
    const auto* found = std::get_if<std::shared_ptr<const List>>(&storage_);
    return found != nullptr ? found->get() : nullptr;
}

const Dict* Value::as_dict() const
{
    const auto* found = std::get_if<std::shared_ptr<const Dict>>(&storage_);
    return found != nullptr ? found->get() : nullptr;
}

Namespace* Value::as_namespace() const
{
    const auto* found = std::get_if<std::shared_ptr<Namespace>>(&storage_);
    return found != nullptr ? found->get() : nullptr;
}

const Function* Value::as_function() const
{
    const auto* found = std::get_if<std::shared_ptr<const Function>>(&storage_);
    return found != nullptr ? found->get() : nullptr;
}

double Value::number() const
{
    return is<double>() ? std::get<double>(storage_) : static_cast<double>(integer());
}

std::int64_t Value::integer() const
{
    return is<bool>() ? static_cast<std::int64_t>(std::get<bool>(storage_)) : std::get<std::int64_t>(storage_);
}

bool Value::truthy() const
{
    if (const std::string* text = as_string()) {
        return !text->empty();
    }
    if (const List* list = as_list()) {
        return !list->empty();
    }
    if (const Dict* dict = as_dict()) {
        return !dict->empty();
    }
    if (is_number()) {
        return number() != 0;
    }
    return as_namespace() != nullptr || as_function() != nullptr;
}

std::string Value::type_name() const
{
    static constexpr std::array<const char*, 10> names{
        "undefined", "none", "boolean", "integer", "float", "string", "list", "dict", "namespace", "function"};
    return names[storage_.index()];
}

const Value* find(const Dict& dict, std::string_view key)
{
    const auto found = std::find_if(dict.begin(), dict.end(), [&](const auto& member) { return member.first == key; });
    return found == dict.end() ? nullptr : &found->second;
}

void set(Dict& dict, const std::string& key, Value value)
{
    const auto found = std::find_if(dict.begin(), dict.end(), [&](const auto& member) { return member.first == key; });
    if (found == dict.end()) {
        dict.emplace_back(key, std::move(value));
    } else {
        found->second = std::move(value);
    }
}

std::string to_text(const Value& value)
{
    if (const std::string* text = value.as_string()) {
        return *text;
    }
    if (const List* list = value.as_list()) {
        return list_text(*list, value.is_tuple());
    }
    if (const Dict* dict = value.as_dict()) {
        return dict_text(*dict);
    }
    if (value.is<None>()) {
        return "None";
    }
    if (value.is<bool>()) {
        return value.truthy() ? "True" : "False";
    }
    if (value.is<std::int64_t>()) {
        return std::to_string(value.integer());
    }
    if (value.is<double>()) {
        return float_text(value.number());
    }
    if (value.is_undefined()) {
        return "";
    }
    throw Error("a " + value.type_name() + " cannot be printed");
}

std::string to_json(const Value& value, int indent)
{
    return json_text(value, indent, 0);
}

bool equal(const Value& a, const Value& b)
{
    if (a.is_number() && b.is_number()) {
        return a.is<double>() || b.is<double>() ? a.number() == b.number() : a.integer() == b.integer();
    }
    if (a.storage().index() != b.storage().index()) {
        return false;
    }
    if (const std::string* text = a.as_string()) {
        return *text == *b.as_string();
    }
    if (const List* list = a.as_list()) {
        return a.is_tuple() == b.is_tuple()
            && std::equal(list->begin(), list->end(), b.as_list()->begin(), b.as_list()->end(), equal);
    }
    if (const Dict* dict = a.as_dict()) {
        return dict->size() == b.as_dict()->size() && std::all_of(dict->begin(), dict->end(), [&](const auto& member) {
            const Value* other = find(*b.as_dict(), member.first);
            return other != nullptr && equal(member.second, *other);
        });
    }
    return a.as_namespace() == b.as_namespace() && a.as_function() == b.as_function();
}

bool less(const Value& a, const Value& b)
{
    if (a.is_number() && b.is_number()) {
        return a.is<double>() || b.is<double>() ? a.number() < b.number() : a.integer() < b.integer();
    }
    if (a.is_string() && b.is_string()) {
        return *a.as_string() < *b.as_string();
    }
    throw Error("a " + a.type_name() + " and a " + b.type_name() + " have no order");
}

bool contains(const Value& container, const Value& item)
{
    if (const std::string* text = container.as_string(); text != nullptr && item.is_string()) {
        return text->find(*item.as_string()) != std::string::npos;
    }
    if (const List* list = container.as_list()) {
        return std::any_of(list->begin(), list->end(), [&](const Value& element) { return equal(element, item); });
    }
    if (const Dict* dict = container.as_dict()) {
        return item.is_string() && find(*dict, *item.as_string()) != nullptr;
    }
    if (container.is_undefined()) {
        return false;
    }
    throw Error("a " + container.type_name() + " does not contain a " + item.type_name());
}

} // namespace lava::jinja
