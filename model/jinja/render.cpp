#include "model/jinja/render.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/jinja/builtins.h"
#include "model/jinja/operators.h"

#include <algorithm>

namespace lava::jinja {

namespace {

/// An error that names its line already.
class LocatedError : public Error
{
public:
    using Error::Error;
};

/// Runs `body`; an error of it gets the line.
template <typename Body> auto located(int line, const Body& body)
{
    try {
        return body();
    } catch (const LocatedError&) {
        throw;
    } catch (const Error& error) {
        throw LocatedError(formatted("line {}: {}", line, error.what()));
    }
}

enum class Flow
{
    on,
    leave,
    next
};

class Renderer
{
public:
    Renderer(const Dict& variables, std::time_t now)
        : scopes_{functions(now), variables}
    { }

    std::string run(const Block& block)
    {
        execute(block);
        return std::move(output_);
    }

private:
    /// A scope of names that ends with its block.
    class Scope
    {
    public:
        explicit Scope(std::vector<Dict>& scopes)
            : scopes_(scopes)
        {
            scopes_.emplace_back();
        }
        ~Scope() { scopes_.pop_back(); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

    private:
        std::vector<Dict>& scopes_;
    };

    /// One level deeper: neither the stack nor the time of a hostile template's host is without end.
    class Level
    {
    public:
        explicit Level(Renderer& renderer)
            : renderer_(renderer)
        {
            renderer_.step();
            if (renderer_.level_ >= 1000) {
                throw Error("the template does not come to an end");
            }
            ++renderer_.level_;
        }
        ~Level() { --renderer_.level_; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;

    private:
        Renderer& renderer_;
    };

    void step()
    {
        if (++steps_ > 1'000'000) {
            throw Error("the template does not come to an end");
        }
    }

    void print(const std::string& text) { output_ = bounded(std::move(output_) + text); }

    Flow execute(const Block& block)
    {
        for (const Statement& statement : block) {
            const Flow flow = located(statement.line, [&] { return execute(statement); });
            if (flow != Flow::on) {
                return flow;
            }
        }
        return Flow::on;
    }

    Flow execute(const Statement& statement)
    {
        const Level level(*this);
        switch (statement.kind) {
        case Statement::Kind::text:
            print(statement.text);
            return Flow::on;
        case Statement::Kind::print:
            print(to_text(evaluate(*statement.value)));
            return Flow::on;
        case Statement::Kind::condition:
            return execute(evaluate(*statement.value).truthy() ? statement.body : statement.otherwise);
        case Statement::Kind::loop:
            loop(statement);
            return Flow::on;
        case Statement::Kind::assign:
            assign(statement.names, evaluate(*statement.value));
            return Flow::on;
        case Statement::Kind::assign_member:
            assign_member(statement);
            return Flow::on;
        case Statement::Kind::assign_block:
            set_captured(statement);
            return Flow::on;
        case Statement::Kind::macro:
            define_macro(statement);
            return Flow::on;
        case Statement::Kind::scope:
            return scoped(statement.body);
        case Statement::Kind::leave:
            return Flow::leave;
        case Statement::Kind::next:
            return Flow::next;
        case Statement::Kind::unsupported:
            throw Error(statement.text);
        }
        return Flow::on;
    }

    void set_captured(const Statement& statement)
    {
        auto text = captured(statement.body); // moves scopes_ about
        set(scopes_.back(), statement.names[0], Value::string(std::move(text)));
    }

    Flow scoped(const Block& block)
    {
        const Scope scope(scopes_);
        return execute(block);
    }

    std::string captured(const Block& block)
    {
        std::string outside = std::exchange(output_, {});
        scoped(block);
        return std::exchange(output_, std::move(outside));
    }

    void assign(const std::vector<std::string>& names, const Value& value)
    {
        if (names.size() == 1) {
            return set(scopes_.back(), names[0], value);
        }
        const List elements = elements_of(value);
        if (elements.size() != names.size()) {
            throw Error(formatted("expected {} values, found {}", names.size(), elements.size()));
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            set(scopes_.back(), names[i], elements[i]);
        }
    }

    void assign_member(const Statement& statement)
    {
        Namespace* space = lookup(statement.names[0]).as_namespace();
        if (space == nullptr) {
            throw Error(
                "'" + statement.names[0] + "' is no namespace, and so its '" + statement.names[1] + "' cannot be set");
        }
        const Value value = evaluate(*statement.value);
        if (value.holds_namespace()) {
            throw Error("a namespace in a namespace is not supported");
        }
        set(space->members, statement.names[1], value);
    }

    void loop(const Statement& statement)
    {
        const List elements = chosen(statement, elements_of(evaluate(*statement.value)));
        for (std::size_t i = 0; i < elements.size(); ++i) {
            step();
            const Scope scope(scopes_);
            assign(statement.names, elements[i]);
            set(scopes_.back(), "loop", loop_variable(elements, i));
            if (execute(statement.body) == Flow::leave) {
                break;
            }
        }
        if (elements.empty()) {
            scoped(statement.otherwise);
        }
    }

    /// The elements that the loop's condition lets through.
    List chosen(const Statement& statement, List elements)
    {
        if (!statement.filter) {
            return elements;
        }
        List result;
        for (const Value& element : elements) {
            step();
            const Scope scope(scopes_);
            assign(statement.names, element);
            if (evaluate(*statement.filter).truthy()) {
                result.push_back(element);
            }
        }
        return result;
    }

    static Value loop_variable(const List& elements, std::size_t i)
    {
        const auto index = static_cast<std::int64_t>(i);
        const std::int64_t length = std::ssize(elements);
        Dict result{{"index", Value::integer(index + 1)}, {"index0", Value::integer(index)},
            {"revindex", Value::integer(length - index)}, {"revindex0", Value::integer(length - index - 1)},
            {"first", Value::boolean(i == 0)}, {"last", Value::boolean(index + 1 == length)},
            {"length", Value::integer(length)}};
        if (i > 0) {
            result.emplace_back("previtem", elements[i - 1]);
        }
        if (index + 1 < length) {
            result.emplace_back("nextitem", elements[i + 1]);
        }
        result.emplace_back("cycle", Value::function([i](const Arguments& arguments) {
            const List& values = arguments.positional;
            return values.empty() ? Value() : values[i % values.size()];
        }));
        return Value::dict(std::move(result));
    }

    void define_macro(const Statement& statement)
    {
        set(scopes_.back(), statement.text, Value::function([this, &statement](const Arguments& arguments) {
            return Value::string(call_macro(statement, arguments));
        }));
    }

    std::string call_macro(const Statement& macro, const Arguments& arguments)
    {
        const Level level(*this);
        if (arguments.positional.size() > macro.parameters.size()) {
            throw Error(formatted("the macro '{}' takes {} arguments", macro.text, macro.parameters.size()));
        }
        // a macro sees the template's own names, not those of where it is called
        std::vector<Dict> outside = std::exchange(scopes_, {scopes_[0], scopes_[1], {}});
        std::string text;
        try {
            bind_parameters(macro, arguments);
            text = captured(macro.body);
        } catch (...) {
            scopes_ = std::move(outside);
            throw;
        }
        scopes_ = std::move(outside);
        return text;
    }

    void bind_parameters(const Statement& macro, const Arguments& arguments)
    {
        for (const auto& [name, value] : arguments.named) {
            if (std::none_of(macro.parameters.begin(), macro.parameters.end(),
                    [&name = name](const Parameter& parameter) { return parameter.name == name; })) {
                throw Error("the macro '" + macro.text + "' has no parameter '" + name + "'");
            }
        }
        for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
            const Parameter& parameter = macro.parameters[i];
            const Value* named = find(arguments.named, parameter.name);
            Value value = i < arguments.positional.size() ? arguments.positional[i]
                : named != nullptr                        ? *named
                : parameter.otherwise                     ? evaluate(*parameter.otherwise)
                                                          : Value::undefined(parameter.name);
            set(scopes_.back(), parameter.name, std::move(value));
        }
    }

    Value lookup(const std::string& name) const
    {
        for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
            if (const Value* found = find(*scope, name)) {
                return *found;
            }
        }
        return Value::undefined(name);
    }

    Value evaluate(const Expression& expression)
    {
        return located(expression.line, [&] {
            const Level level(*this);
            return evaluate_at(expression);
        });
    }

    Value operand(const Expression& expression, std::size_t i) { return evaluate(*expression.operands[i]); }

    Value evaluate_at(const Expression& expression)
    {
        using Kind = Expression::Kind;
        if (!expression.refusal.empty()) {
            throw Error(expression.refusal);
        }
        switch (expression.kind) {
        case Kind::literal:
            return expression.value;
        case Kind::name:
            return lookup(expression.name);
        case Kind::list:
            return expression.name == "," ? Value::tuple(evaluate_all(expression, 0))
                                          : Value::list(evaluate_all(expression, 0));
        case Kind::dict:
            return evaluate_dict(expression);
        case Kind::member:
            return member_of(operand(expression, 0), expression.name);
        case Kind::item:
            return item_of(operand(expression, 0), operand(expression, 1));
        case Kind::slice:
            return evaluate_slice(expression);
        case Kind::call:
            return call(expression);
        case Kind::filter:
            return apply_filter(expression.name, operand(expression, 0), arguments_of(expression));
        case Kind::test:
            return Value::boolean(apply_test(expression.name, operand(expression, 0), arguments_of(expression)));
        case Kind::unary:
            return apply_unary(expression.name, operand(expression, 0));
        case Kind::binary:
            return apply_binary(expression.name, operand(expression, 0), operand(expression, 1));
        case Kind::logical_and:
        case Kind::logical_or: {
            Value left = operand(expression, 0);
            return left.truthy() == (expression.kind == Kind::logical_or) ? left : operand(expression, 1);
        }
        case Kind::conditional:
            return operand(expression, 1).truthy() ? operand(expression, 0)
                : expression.operands[2]           ? operand(expression, 2)
                                                   : Value::undefined("");
        }
        return {};
    }

    List evaluate_all(const Expression& expression, std::size_t from)
    {
        List result;
        for (std::size_t i = from; i < expression.operands.size(); ++i) {
            result.push_back(operand(expression, i));
        }
        return result;
    }

    Value evaluate_dict(const Expression& expression)
    {
        Dict result;
        for (std::size_t i = 0; i + 1 < expression.operands.size(); i += 2) {
            set(result, string_of(operand(expression, i), "a dict's key"), operand(expression, i + 1));
        }
        return Value::dict(std::move(result));
    }

    Value evaluate_slice(const Expression& expression)
    {
        const auto part = [&](std::size_t i) -> std::optional<std::int64_t> {
            const Value value = expression.operands[i] ? operand(expression, i) : Value::none();
            return value.is<None>() ? std::nullopt : std::optional(integer_of(value, "a slice"));
        };
        return slice_of(operand(expression, 0), part(1), part(2), part(3));
    }

    Arguments arguments_of(const Expression& expression)
    {
        Arguments result{evaluate_all(expression, 1), {}};
        for (const auto& [name, value] : expression.named) {
            set(result.named, name, evaluate(*value));
        }
        return result;
    }

    Value call(const Expression& expression)
    {
        const Expression& callee = *expression.operands[0];
        if (callee.kind == Expression::Kind::member) {
            const Value object = operand(callee, 0);
            const Value member = member_of(object, callee.name);
            return member.as_function() != nullptr ? (*member.as_function())(arguments_of(expression))
                                                   : call_method(object, callee.name, arguments_of(expression));
        }
        const Value function = evaluate(callee);
        if (function.as_function() == nullptr) {
            throw Error("'" + (callee.name.empty() ? function.type_name() : callee.name) + "' cannot be called");
        }
        return (*function.as_function())(arguments_of(expression));
    }

    std::vector<Dict> scopes_; ///< functions, the template's own names, then one for each block
    std::string output_;
    std::int64_t steps_ = 0;
    int level_ = 0;
};

} // namespace

std::string render(const Block& block, const Dict& variables, std::time_t now)
{
    return Renderer(variables, now).run(block);
}

} // namespace lava::jinja
