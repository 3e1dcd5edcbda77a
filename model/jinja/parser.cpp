#include "base/error.h"
#include "model/jinja/expression_parser.h"
#include "model/jinja/syntax.h"

#include <algorithm>
#include <initializer_list>

namespace lava::jinja {

namespace {

class Parser
{
public:
    explicit Parser(std::string_view source)
        : tokens_(tokenize(source))
        , expressions_(tokens_)
    { }

    Block run()
    {
        Block block = parse_block({});
        tokens_.require(Token::Kind::end, "the end of the template");
        return block;
    }

private:
    using Ends = std::initializer_list<std::string_view>;

    Statement make(Statement::Kind kind) const
    {
        Statement result;
        result.kind = kind;
        result.line = tokens_.peek().line;
        return result;
    }

    bool at_end(Ends ends) const
    {
        const Token& next = tokens_.peek(1);
        return tokens_.peek().kind == Token::Kind::block_begin && next.kind == Token::Kind::name
            && std::find(ends.begin(), ends.end(), next.text) != ends.end();
    }

    /// Up to a tag that begins with one of `ends`, which is left.
    Block parse_block(Ends ends)
    {
        const Depth depth(depth_, tokens_);
        Block block;
        while (!at_end(ends)) {
            if (tokens_.peek().kind == Token::Kind::end) {
                if (ends.size() != 0) {
                    tokens_.fail("expected {% " + std::string(*ends.begin()) + " %}, found the end of the template");
                }
                break;
            }
            block.push_back(parse_statement());
        }
        return block;
    }

    Statement parse_statement()
    {
        if (tokens_.peek().kind == Token::Kind::text) {
            Statement result = make(Statement::Kind::text);
            result.text = tokens_.take().text;
            return result;
        }
        if (tokens_.peek().kind == Token::Kind::print_begin) {
            tokens_.take();
            Statement result = make(Statement::Kind::print);
            result.value = expressions_.parse_tuple();
            tokens_.require(Token::Kind::print_end, "'}}'");
            return result;
        }
        tokens_.require(Token::Kind::block_begin, "'{%'");
        return parse_tag();
    }

    Statement parse_tag()
    {
        const std::string name = tokens_.require(Token::Kind::name, "a statement's name").text;
        if (name == "if") {
            return parse_condition();
        }
        if (name == "for") {
            return parse_loop();
        }
        if (name == "set") {
            return parse_set();
        }
        if (name == "macro") {
            return parse_macro();
        }
        if (name == "generation") { // marks what the assistant says; nothing comes of it in text
            Statement result = make(Statement::Kind::scope);
            close_tag();
            result.body = parse_block({"endgeneration"});
            end_tag("endgeneration");
            return result;
        }
        if (name == "break" || name == "continue") {
            if (loops_ == 0) {
                tokens_.fail("{% " + name + " %} outside of a loop");
            }
            Statement result = make(name == "break" ? Statement::Kind::leave : Statement::Kind::next);
            close_tag();
            return result;
        }
        tokens_.fail("{% " + name + " %} is not supported");
    }

    void close_tag() { tokens_.require(Token::Kind::block_end, "'%}'"); }

    void end_tag(const std::string& name)
    {
        tokens_.require(Token::Kind::block_begin, "'{%'");
        if (!tokens_.take_name(name)) {
            tokens_.fail("expected {% " + name + " %}, found '" + tokens_.peek().text + "'");
        }
        close_tag();
    }

    Statement parse_condition()
    {
        const Depth depth(depth_, tokens_);
        Statement result = make(Statement::Kind::condition);
        result.value = expressions_.parse();
        close_tag();
        result.body = parse_block({"endif", "elif", "else"});
        tokens_.take();
        if (tokens_.take_name("elif")) {
            result.otherwise.push_back(parse_condition());
            return result;
        }
        if (tokens_.take_name("else")) {
            close_tag();
            result.otherwise = parse_block({"endif"});
            end_tag("endif");
            return result;
        }
        tokens_.take();
        close_tag();
        return result;
    }

    std::vector<std::string> parse_names()
    {
        const bool bracket = tokens_.take_symbol("(");
        std::vector<std::string> names;
        do {
            names.push_back(tokens_.require(Token::Kind::name, "a name").text);
        } while (tokens_.take_symbol(","));
        if (bracket) {
            tokens_.require_symbol(")");
        }
        return names;
    }

    Statement parse_loop()
    {
        Statement result = make(Statement::Kind::loop);
        result.names = parse_names();
        if (!tokens_.take_name("in")) {
            tokens_.fail("expected 'in', found '" + tokens_.peek().text + "'");
        }
        result.value = expressions_.parse_or();
        if (tokens_.take_name("if")) {
            result.filter = expressions_.parse();
        }
        if (tokens_.is_name("recursive")) {
            tokens_.fail("a recursive loop is not supported");
        }
        close_tag();
        ++loops_;
        result.body = parse_block({"endfor", "else"});
        --loops_;
        tokens_.take();
        if (tokens_.take_name("else")) {
            close_tag();
            result.otherwise = parse_block({"endfor"});
            end_tag("endfor");
            return result;
        }
        tokens_.take();
        close_tag();
        return result;
    }

    Statement parse_set()
    {
        Statement result = make(Statement::Kind::assign);
        result.names = parse_names();
        if (tokens_.take_symbol(".")) {
            if (result.names.size() != 1) {
                tokens_.fail("only one member can be set at a time");
            }
            result.kind = Statement::Kind::assign_member;
            result.names.push_back(tokens_.require(Token::Kind::name, "a name behind '.'").text);
        }
        if (tokens_.take_symbol("=")) {
            result.value = expressions_.parse_tuple();
            close_tag();
            return result;
        }
        if (result.kind != Statement::Kind::assign || result.names.size() != 1 || tokens_.is_symbol("|")) {
            tokens_.fail("expected '=', found '" + tokens_.peek().text + "'");
        }
        close_tag();
        result.kind = Statement::Kind::assign_block;
        result.body = parse_block({"endset"});
        end_tag("endset");
        return result;
    }

    Statement parse_macro()
    {
        Statement result = make(Statement::Kind::macro);
        result.text = tokens_.require(Token::Kind::name, "a macro's name").text;
        tokens_.require_symbol("(");
        while (!tokens_.take_symbol(")")) {
            Parameter parameter{tokens_.require(Token::Kind::name, "a parameter's name").text, nullptr};
            if (tokens_.take_symbol("=")) {
                parameter.otherwise = expressions_.parse();
            } else if (!result.parameters.empty() && result.parameters.back().otherwise) {
                tokens_.fail("a parameter without a default behind one that has one");
            }
            result.parameters.push_back(std::move(parameter));
            if (!tokens_.take_symbol(",") && !tokens_.is_symbol(")")) {
                tokens_.require_symbol(")");
            }
        }
        close_tag();
        const int loops = std::exchange(loops_, 0);
        result.body = parse_block({"endmacro"});
        loops_ = loops;
        end_tag("endmacro");
        return result;
    }

    TokenReader tokens_;
    ExpressionParser expressions_;
    int depth_ = 0;
    int loops_ = 0;
};

} // namespace

Block parse(std::string_view source)
{
    return Parser(source).run();
}

} // namespace lava::jinja
