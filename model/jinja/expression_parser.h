#pragma once

#include "model/jinja/lexer.h"
#include "model/jinja/syntax.h"

namespace lava::jinja {

/// Tokens read one after the other.
class TokenReader
{
public:
    explicit TokenReader(std::vector<Token> tokens)
        : tokens_(std::move(tokens))
    { }

    const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
    Token take();
    bool is_symbol(std::string_view symbol) const;
    bool is_name(std::string_view name) const;
    bool take_symbol(std::string_view symbol);
    bool take_name(std::string_view name);
    void require_symbol(std::string_view symbol);
    /// Takes a token of this kind. Throws Error naming what was found instead.
    Token require(Token::Kind kind, const std::string& expected);
    [[noreturn]] void fail(const std::string& message) const;

private:
    std::vector<Token> tokens_;
    std::size_t at_ = 0;
};

/// Counts how deep the parser is in nested constructs: a hostile template must not exhaust the stack.
class Depth
{
public:
    explicit Depth(int& depth, const TokenReader& tokens);
    ~Depth() { --depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

private:
    int& depth_;
};

/// Expressions with Jinja's precedences.
class ExpressionParser
{
public:
    explicit ExpressionParser(TokenReader& tokens)
        : tokens_(tokens)
    { }

    ExpressionPtr parse(); ///< with "a if b else c"
    ExpressionPtr parse_tuple(); ///< several behind commas are a list
    ExpressionPtr parse_sequence(); ///< a loop's: without the conditional; several behind commas are a list
    void parse_filters_of_text(); ///< name(arguments) | ..., of a tag's text

private:
    ExpressionPtr make(Expression::Kind kind, std::string name = {}) const;
    /// Makes `operand`, which may be null, the next one of `parent`. Throws Error where the tree gets too deep to walk.
    void add(Expression& parent, ExpressionPtr operand) const;
    ExpressionPtr parse_or();
    ExpressionPtr parse_and();
    ExpressionPtr parse_not();
    ExpressionPtr parse_comparison();
    ExpressionPtr parse_sum();
    ExpressionPtr parse_concatenation();
    ExpressionPtr parse_product();
    ExpressionPtr parse_power();
    ExpressionPtr parse_unary(bool with_filters);
    ExpressionPtr parse_primary();
    ExpressionPtr parse_literal();
    ExpressionPtr parse_list(std::string_view close);
    ExpressionPtr parse_dict();
    ExpressionPtr parse_postfix(ExpressionPtr base);
    ExpressionPtr parse_brackets(ExpressionPtr base);
    ExpressionPtr parse_filter(ExpressionPtr base);
    ExpressionPtr parse_filters(ExpressionPtr base);
    std::string parse_dotted_name(const std::string& what);
    ExpressionPtr parse_test(ExpressionPtr base);
    void parse_arguments(Expression& call);
    ExpressionPtr binary(std::string name, ExpressionPtr left, ExpressionPtr right) const;

    TokenReader& tokens_;
    int depth_ = 0;
};

} // namespace lava::jinja
