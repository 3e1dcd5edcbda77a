#include "model/jinja/expression_parser.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <charconv>

namespace lava::jinja {

using Kind = Expression::Kind;

ExpressionPtr ExpressionParser::make(Kind kind, std::string name) const
{
    auto result = std::make_unique<Expression>();
    result->kind = kind;
    result->line = tokens_.peek().line;
    result->name = std::move(name);
    return result;
}

void ExpressionParser::add(Expression& parent, ExpressionPtr operand) const
{
    constexpr int deepest = 300;
    parent.depth = std::max(parent.depth, operand ? operand->depth + 1 : 0);
    if (parent.depth > deepest) {
        tokens_.fail(formatted("an expression nested more than {} deep", deepest));
    }
    parent.operands.push_back(std::move(operand));
}

ExpressionPtr ExpressionParser::binary(std::string name, ExpressionPtr left, ExpressionPtr right) const
{
    ExpressionPtr result = make(Kind::binary, std::move(name));
    add(*result, std::move(left));
    add(*result, std::move(right));
    return result;
}

ExpressionPtr ExpressionParser::parse()
{
    const Depth depth(depth_, tokens_);
    ExpressionPtr value = parse_or();
    while (tokens_.take_name("if")) {
        ExpressionPtr result = make(Kind::conditional);
        add(*result, std::move(value));
        add(*result, parse_or());
        add(*result, tokens_.take_name("else") ? parse() : nullptr);
        value = std::move(result);
    }
    return value;
}

ExpressionPtr ExpressionParser::parse_tuple()
{
    ExpressionPtr first = parse();
    if (!tokens_.is_symbol(",")) {
        return first;
    }
    ExpressionPtr result = make(Kind::list, ",");
    add(*result, std::move(first));
    while (tokens_.take_symbol(",")) {
        if (tokens_.peek().kind == Token::Kind::block_end || tokens_.peek().kind == Token::Kind::print_end) {
            break;
        }
        add(*result, parse());
    }
    return result;
}

ExpressionPtr ExpressionParser::parse_sequence()
{
    ExpressionPtr first = parse_or();
    if (!tokens_.is_symbol(",")) {
        return first;
    }
    ExpressionPtr result = make(Kind::list, ",");
    add(*result, std::move(first));
    while (tokens_.take_symbol(",")) {
        add(*result, parse_or());
    }
    return result;
}

ExpressionPtr ExpressionParser::parse_or()
{
    ExpressionPtr left = parse_and();
    while (tokens_.take_name("or")) {
        ExpressionPtr result = make(Kind::logical_or);
        add(*result, std::move(left));
        add(*result, parse_and());
        left = std::move(result);
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_and()
{
    ExpressionPtr left = parse_not();
    while (tokens_.take_name("and")) {
        ExpressionPtr result = make(Kind::logical_and);
        add(*result, std::move(left));
        add(*result, parse_not());
        left = std::move(result);
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_not()
{
    const Depth depth(depth_, tokens_);
    if (!tokens_.take_name("not")) {
        return parse_comparison();
    }
    ExpressionPtr result = make(Kind::unary, "not");
    add(*result, parse_not());
    return result;
}

ExpressionPtr ExpressionParser::parse_comparison()
{
    ExpressionPtr left = parse_sum();
    ExpressionPtr result;
    while (true) {
        std::string name;
        for (const char* symbol : {"==", "!=", "<=", ">=", "<", ">"}) {
            name = tokens_.is_symbol(symbol) ? symbol : name;
        }
        if (tokens_.is_name("in")) {
            name = "in";
        } else if (tokens_.is_name("not") && tokens_.peek(1).kind == Token::Kind::name
            && tokens_.peek(1).text == "in") {
            tokens_.take();
            name = "not in";
        }
        if (name.empty()) {
            return result ? std::move(result) : std::move(left);
        }
        const bool chain = result != nullptr;
        tokens_.take();
        result = binary(name, chain ? std::move(result) : std::move(left), parse_sum());
        if (chain) {
            result->refusal = "a chain of comparisons is not supported; 'and' between them would do";
        }
    }
}

ExpressionPtr ExpressionParser::parse_sum()
{
    ExpressionPtr left = parse_concatenation();
    while (tokens_.is_symbol("+") || tokens_.is_symbol("-")) {
        const std::string name = tokens_.take().text;
        left = binary(name, std::move(left), parse_concatenation());
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_concatenation()
{
    ExpressionPtr left = parse_product();
    while (tokens_.take_symbol("~")) {
        left = binary("~", std::move(left), parse_product());
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_product()
{
    ExpressionPtr left = parse_power();
    while (tokens_.is_symbol("*") || tokens_.is_symbol("/") || tokens_.is_symbol("//") || tokens_.is_symbol("%")) {
        const std::string name = tokens_.take().text;
        left = binary(name, std::move(left), parse_power());
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_power()
{
    ExpressionPtr left = parse_unary(true);
    while (tokens_.take_symbol("**")) {
        left = binary("**", std::move(left), parse_unary(true));
        left->refusal = "'**' is not supported";
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters)
{
    const Depth depth(depth_, tokens_);
    ExpressionPtr result;
    if (tokens_.is_symbol("-") || tokens_.is_symbol("+")) {
        result = make(Kind::unary, tokens_.take().text);
        add(*result, parse_unary(false));
    } else {
        result = parse_primary();
    }
    result = parse_postfix(std::move(result));
    return with_filters ? parse_filters(std::move(result)) : std::move(result);
}

ExpressionPtr ExpressionParser::parse_primary()
{
    if (tokens_.peek().kind == Token::Kind::name) {
        const std::string& name = tokens_.peek().text;
        ExpressionPtr result = make(Kind::literal);
        if (name == "true" || name == "True" || name == "false" || name == "False") {
            result->value = Value::boolean(name == "true" || name == "True");
        } else if (name == "none" || name == "None") {
            result->value = Value::none();
        } else {
            result->kind = Kind::name;
            result->name = name;
        }
        tokens_.take();
        return result;
    }
    if (tokens_.take_symbol("(")) {
        ExpressionPtr list = parse_list(")");
        const bool tuple = list->name == "," || list->operands.empty();
        list->name = ",";
        return tuple ? std::move(list) : std::move(list->operands.front());
    }
    if (tokens_.take_symbol("[")) {
        ExpressionPtr list = parse_list("]");
        list->name.clear();
        return list;
    }
    if (tokens_.take_symbol("{")) {
        return parse_dict();
    }
    return parse_literal();
}

ExpressionPtr ExpressionParser::parse_literal()
{
    ExpressionPtr result = make(Kind::literal);
    const Token token = tokens_.peek();
    if (token.kind == Token::Kind::string) {
        std::string text;
        while (tokens_.peek().kind == Token::Kind::string) { // neighbours are one string
            text += tokens_.take().text;
        }
        result->value = Value::string(std::move(text));
    } else if (token.kind == Token::Kind::integer) {
        std::int64_t value = 0;
        if (std::from_chars(token.text.data(), token.text.data() + token.text.size(), value).ec != std::errc()) {
            result->refusal = "an integer beyond 64 bits: " + token.text;
        }
        result->value = Value::integer(value);
        tokens_.take();
    } else if (token.kind == Token::Kind::number) {
        double value = 0;
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
        result->value = Value(Value::Storage(value));
        tokens_.take();
    } else {
        tokens_.fail("expected a value, found '" + token.text + "'");
    }
    return result;
}

/// Up to `close`; the name "," says that there was a comma.
ExpressionPtr ExpressionParser::parse_list(std::string_view close)
{
    ExpressionPtr result = make(Kind::list);
    while (!tokens_.take_symbol(close)) {
        add(*result, parse());
        if (tokens_.take_symbol(",")) {
            result->name = ",";
        } else if (!tokens_.is_symbol(close)) {
            tokens_.require_symbol(close);
        }
    }
    return result;
}

ExpressionPtr ExpressionParser::parse_dict()
{
    ExpressionPtr result = make(Kind::dict);
    while (!tokens_.take_symbol("}")) {
        add(*result, parse());
        tokens_.require_symbol(":");
        add(*result, parse());
        if (!tokens_.take_symbol(",") && !tokens_.is_symbol("}")) {
            tokens_.require_symbol("}");
        }
    }
    return result;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr base)
{
    while (true) {
        ExpressionPtr result;
        if (tokens_.take_symbol(".")) {
            const bool index = tokens_.peek().kind == Token::Kind::integer;
            result = index ? make(Kind::item)
                           : make(Kind::member, tokens_.require(Token::Kind::name, "a name behind '.'").text);
            add(*result, std::move(base));
            if (index) {
                add(*result, parse_literal());
            }
        } else if (tokens_.take_symbol("[")) {
            result = parse_brackets(std::move(base));
        } else if (tokens_.take_symbol("(")) {
            result = make(Kind::call);
            add(*result, std::move(base));
            parse_arguments(*result);
        } else {
            return base;
        }
        base = std::move(result);
    }
}

ExpressionPtr ExpressionParser::parse_brackets(ExpressionPtr base)
{
    ExpressionPtr result = make(Kind::item);
    add(*result, std::move(base));
    const auto part = [this] { return tokens_.is_symbol(":") || tokens_.is_symbol("]") ? nullptr : parse(); };
    add(*result, part());
    while (tokens_.take_symbol(":")) {
        result->kind = Kind::slice;
        add(*result, part());
    }
    while (tokens_.take_symbol(",")) {
        part();
        result->refusal = "several indices are not supported";
    }
    tokens_.require_symbol("]");
    if (result->operands.size() > 4 || (result->kind == Kind::item && !result->operands[1])) {
        tokens_.fail("malformed brackets");
    }
    while (result->kind == Kind::slice && result->operands.size() < 4) {
        add(*result, nullptr);
    }
    return result;
}

std::string ExpressionParser::parse_dotted_name(const std::string& what)
{
    std::string name = tokens_.require(Token::Kind::name, what).text;
    while (tokens_.take_symbol(".")) {
        name += "." + tokens_.require(Token::Kind::name, what).text;
    }
    return name;
}

/// What stands behind the "|".
ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr base)
{
    ExpressionPtr result = make(Kind::filter, parse_dotted_name("a filter's name"));
    add(*result, std::move(base));
    if (tokens_.take_symbol("(")) {
        parse_arguments(*result);
    }
    return result;
}

void ExpressionParser::parse_filters_of_text()
{
    do {
        parse_filter(make(Kind::literal));
    } while (tokens_.take_symbol("|"));
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr base)
{
    while (true) {
        if (tokens_.take_symbol("|")) {
            base = parse_filter(std::move(base));
        } else if (tokens_.take_name("is")) {
            base = parse_test(std::move(base));
        } else if (tokens_.take_symbol("(")) { // x | f (...) without a space is the filter's own; this calls its result
            ExpressionPtr result = make(Kind::call);
            add(*result, std::move(base));
            parse_arguments(*result);
            base = std::move(result);
        } else {
            return base;
        }
    }
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr base)
{
    const bool negated = tokens_.take_name("not");
    ExpressionPtr result = make(Kind::test, parse_dotted_name("a test's name"));
    add(*result, std::move(base));
    const Token& next = tokens_.peek();
    const bool word = next.kind == Token::Kind::name && next.text != "and" && next.text != "or" && next.text != "if"
        && next.text != "else" && next.text != "is" && next.text != "in" && next.text != "not";
    if (tokens_.take_symbol("(")) {
        parse_arguments(*result);
    } else if (word || next.kind == Token::Kind::string || next.kind == Token::Kind::integer
        || next.kind == Token::Kind::number || tokens_.is_symbol("[") || tokens_.is_symbol("{")) {
        add(*result, parse_postfix(parse_primary()));
    }
    if (!negated) {
        return result;
    }
    ExpressionPtr inverse = make(Kind::unary, "not");
    add(*inverse, std::move(result));
    return inverse;
}

void ExpressionParser::parse_arguments(Expression& call)
{
    while (!tokens_.take_symbol(")")) {
        if (tokens_.take_symbol("*") || tokens_.take_symbol("**")) {
            call.refusal = "arguments from a list ('*') are not supported";
        }
        const bool is_named = tokens_.peek().kind == Token::Kind::name && tokens_.peek(1).kind == Token::Kind::symbol
            && tokens_.peek(1).text == "=";
        if (is_named) {
            const std::string name = tokens_.take().text;
            tokens_.take();
            ExpressionPtr value = parse();
            call.depth = std::max(call.depth, value->depth + 1);
            call.named.emplace_back(name, std::move(value));
        } else {
            add(call, parse());
        }
        if (!tokens_.take_symbol(",") && !tokens_.is_symbol(")")) {
            tokens_.require_symbol(")");
        }
    }
}

} // namespace lava::jinja
