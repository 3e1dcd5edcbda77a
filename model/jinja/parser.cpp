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
        if (name == "print") {
            Statement result = make(Statement::Kind::scope);
            do { // one behind the other, where {{ }} would print a tuple
                result.body.push_back(make(Statement::Kind::print));
                result.body.back().value = expressions_.parse();
            } while (tokens_.take_symbol(","));
            close_tag();
            return result;
        }
        return parse_unsupported(name);
    }

    /// A tag of Jinja's whose name has been read.
    Statement parse_unsupported(const std::string& name)
    {
        Statement result = make(Statement::Kind::unsupported);
        result.text = "{% " + name + " %} is not supported";
        if (name == "include" || name == "import" || name == "from" || name == "extends") {
            parse_reference(name);
            close_tag();
        } else if (name == "with" || name == "filter" || name == "call" || name == "block" || name == "autoescape") {
            const std::string block = parse_head(name);
            close_tag();
            const std::string end = "end" + name;
            parse_block({end});
            tokens_.take();
            tokens_.take();
            tokens_.take_name(block); // which the end of a block may repeat
            close_tag();
        } else {
            tokens_.fail(result.text);
        }
        return result;
    }

    void require_name(std::string_view name)
    {
        if (!tokens_.take_name(name)) {
            tokens_.fail("expected '" + std::string(name) + "', found '" + tokens_.peek().text + "'");
        }
    }

    /// The rest of a tag that names another template.
    void parse_reference(const std::string& tag)
    {
        expressions_.parse();
        if (tag == "include" && tokens_.take_name("ignore")) {
            require_name("missing");
        }
        if (tag == "import") {
            require_name("as");
            tokens_.require(Token::Kind::name, "a name");
        }
        if (tag == "from") {
            require_name("import");
            do {
                tokens_.require(Token::Kind::name, "a name");
                if (tokens_.take_name("as")) {
                    tokens_.require(Token::Kind::name, "a name");
                }
            } while (tokens_.take_symbol(","));
        }
        if (tag != "extends" && (tokens_.take_name("with") || tokens_.take_name("without"))) {
            require_name("context");
        }
    }

    /// The rest of a tag that holds text. Returns the name of a block.
    std::string parse_head(const std::string& tag)
    {
        if (tag == "with") {
            while (tokens_.peek().kind != Token::Kind::block_end) {
                std::string refusal;
                parse_names(refusal);
                tokens_.require_symbol("=");
                expressions_.parse();
                tokens_.take_symbol(",");
            }
        } else if (tag == "filter") {
            expressions_.parse_filters_of_text();
        } else if (tag == "block") {
            const std::string name = tokens_.require(Token::Kind::name, "a block's name").text;
            tokens_.take_name("scoped");
            tokens_.take_name("required");
            return name;
        } else if (tag == "call") {
            if (tokens_.is_symbol("(")) {
                parse_parameters();
            }
            if (expressions_.parse()->kind != Expression::Kind::call) {
                tokens_.fail("expected a call, found '" + tokens_.peek().text + "'");
            }
        } else {
            expressions_.parse();
        }
        return {};
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

    /// The statement, which is refused when it is reached where there is a reason to.
    static Statement refused_for(const std::string& reason, Statement statement)
    {
        if (!reason.empty()) {
            statement.kind = Statement::Kind::unsupported;
            statement.text = reason;
        }
        return statement;
    }

    /// What values are given to. `refusal` becomes why this is not supported, if so.
    std::vector<std::string> parse_names(std::string& refusal)
    {
        const Depth depth(depth_, tokens_);
        const bool bracket = tokens_.take_symbol("(");
        std::vector<std::string> names;
        do {
            if (tokens_.is_symbol("(")) {
                parse_names(refusal);
                refusal = "names in brackets among others are not supported";
            } else {
                names.push_back(tokens_.require(Token::Kind::name, "a name").text);
            }
        } while (tokens_.take_symbol(","));
        if (bracket) {
            tokens_.require_symbol(")");
        }
        return names;
    }

    Statement parse_loop()
    {
        Statement result = make(Statement::Kind::loop);
        std::string refusal;
        result.names = parse_names(refusal);
        if (!tokens_.take_name("in")) {
            tokens_.fail("expected 'in', found '" + tokens_.peek().text + "'");
        }
        result.value = expressions_.parse_sequence();
        if (tokens_.take_name("if")) {
            result.filter = expressions_.parse();
        }
        if (tokens_.take_name("recursive")) {
            refusal = "a recursive loop is not supported";
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
            return refused_for(refusal, std::move(result));
        }
        tokens_.take();
        close_tag();
        return refused_for(refusal, std::move(result));
    }

    Statement parse_set()
    {
        Statement result = make(Statement::Kind::assign);
        std::string refusal;
        result.names = parse_names(refusal);
        if (tokens_.take_symbol(".")) {
            result.kind = Statement::Kind::assign_member;
            refusal = result.names.size() == 1 ? refusal : "only one member can be set at a time";
            result.names.push_back(tokens_.require(Token::Kind::name, "a name behind '.'").text);
        }
        if (tokens_.take_symbol("=")) {
            result.value = expressions_.parse_tuple();
            close_tag();
            return refused_for(refusal, std::move(result));
        }
        if (result.kind != Statement::Kind::assign || result.names.size() != 1) {
            refusal = "{% set %} of a member or of several names with a text is not supported";
        }
        result.kind = Statement::Kind::assign_block;
        if (tokens_.take_symbol("|")) {
            refusal = "{% set %} with a filter is not supported";
            expressions_.parse_filters_of_text();
        }
        if (tokens_.peek().kind != Token::Kind::block_end) {
            tokens_.fail("expected '=', found '" + tokens_.peek().text + "'");
        }
        close_tag();
        result.body = parse_block({"endset"});
        end_tag("endset");
        return refused_for(refusal, std::move(result));
    }

    Statement parse_macro()
    {
        Statement result = make(Statement::Kind::macro);
        result.text = tokens_.require(Token::Kind::name, "a macro's name").text;
        result.parameters = parse_parameters();
        close_tag();
        const int loops = std::exchange(loops_, 0);
        result.body = parse_block({"endmacro"});
        loops_ = loops;
        end_tag("endmacro");
        return result;
    }

    std::vector<Parameter> parse_parameters()
    {
        std::vector<Parameter> result;
        tokens_.require_symbol("(");
        while (!tokens_.take_symbol(")")) {
            Parameter parameter{tokens_.require(Token::Kind::name, "a parameter's name").text, nullptr};
            if (tokens_.take_symbol("=")) {
                parameter.otherwise = expressions_.parse();
            } else if (!result.empty() && result.back().otherwise) {
                tokens_.fail("a parameter without a default behind one that has one");
            }
            result.push_back(std::move(parameter));
            if (!tokens_.take_symbol(",") && !tokens_.is_symbol(")")) {
                tokens_.require_symbol(")");
            }
        }
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
