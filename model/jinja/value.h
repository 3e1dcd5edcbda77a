#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lava::jinja {

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>; ///< in the order of insertion

/// A name that stands for nothing: prints as nothing, is false, and has no parts.
struct Undefined
{
    std::string name;
};

struct None
{ };

/// What namespace() makes: the one thing whose members a template can set.
struct Namespace
{
    Dict members;
};

struct Arguments
{
    List positional;
    Dict named;
};

using Function = std::function<Value(const Arguments&)>;

/// A Python value as templates see it. Lists, dicts and namespaces are shared, not copied.
class Value
{
public:
    using Storage = std::variant<Undefined, None, bool, std::int64_t, double, std::string, std::shared_ptr<const List>,
        std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<const Function>>;

    Value() = default;
    Value(Storage storage)
        : storage_(std::move(storage))
    { }

    /// Throw Error where they get nested too deep to walk.
    static Value list(List values);
    static Value tuple(List values); ///< a list that prints in round brackets
    static Value dict(Dict members);
    static Value string(std::string text) { return Storage(std::move(text)); }
    static Value integer(std::int64_t value) { return Storage(value); }
    static Value boolean(bool value) { return Storage(value); }
    static Value none() { return Storage(None{}); }
    static Value undefined(std::string name) { return Storage(Undefined{std::move(name)}); }
    static Value function(Function function);
    static Value from_json(const nlohmann::ordered_json& json);

    template <typename T> bool is() const { return std::holds_alternative<T>(storage_); }
    bool is_list() const { return is<std::shared_ptr<const List>>(); }
    bool is_tuple() const { return is_tuple_; }
    bool is_dict() const { return is<std::shared_ptr<const Dict>>(); }
    bool is_string() const { return is<std::string>(); }
    bool is_undefined() const { return is<Undefined>(); }
    bool is_number() const { return is<bool>() || is<std::int64_t>() || is<double>(); }

    /// Null where this is something else.
    const std::string* as_string() const { return std::get_if<std::string>(&storage_); }
    const List* as_list() const;
    const Dict* as_dict() const;
    Namespace* as_namespace() const;
    const Function* as_function() const;
    const Storage& storage() const { return storage_; }
    /// This is a namespace, or one is somewhere inside.
    bool holds_namespace() const { return holds_namespace_ || as_namespace() != nullptr; }

    double number() const; ///< the value of an integer or a float
    std::int64_t integer() const; ///< of an integer or a boolean

    /// Python's bool() of the value.
    bool truthy() const;
    /// "string", "list", ...
    std::string type_name() const;

private:
    void contain(const Value& element);

    Storage storage_;
    int depth_ = 0; ///< how deep lists and dicts lie in one another
    bool holds_namespace_ = false;
    bool is_tuple_ = false;
};

const Value* find(const Dict& dict, std::string_view key);
void set(Dict& dict, const std::string& key, Value value);

/// Python's str() of a value, by which a template's output shows it.
std::string to_text(const Value& value);
/// Python's json.dumps(ensure_ascii=False) of a value, which transformers puts in place of Jinja's own; `indent` below
/// 0: one line. Throws Error for what JSON cannot say.
std::string to_json(const Value& value, int indent);

bool equal(const Value& a, const Value& b);
/// a < b. Throws Error where the two have no order.
bool less(const Value& a, const Value& b);
/// `item in container`. Throws Error where it contains nothing.
bool contains(const Value& container, const Value& item);

} // namespace lava::jinja
