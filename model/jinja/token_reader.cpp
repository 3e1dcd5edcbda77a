#include "base/error.h"
#include "base/formatted.h"
#include "model/jinja/expression_parser.h"

namespace lava::jinja {

Token TokenReader::take()
{
    Token token = peek();
    at_ += at_ + 1 < tokens_.size() ? 1 : 0; // the end stays
    return token;
}

bool TokenReader::is_symbol(std::string_view symbol) const
{
    return peek().kind == Token::Kind::symbol && peek().text == symbol;
}

bool TokenReader::is_name(std::string_view name) const
{
    return peek().kind == Token::Kind::name && peek().text == name;
}

bool TokenReader::take_symbol(std::string_view symbol)
{
    const bool found = is_symbol(symbol);
    if (found) {
        take();
    }
    return found;
}

bool TokenReader::take_name(std::string_view name)
{
    const bool found = is_name(name);
    if (found) {
        take();
    }
    return found;
}

void TokenReader::require_symbol(std::string_view symbol)
{
    if (!take_symbol(symbol)) {
        fail("expected '" + std::string(symbol) + "', found '" + peek().text + "'");
    }
}

Token TokenReader::require(Token::Kind kind, const std::string& expected)
{
    if (peek().kind != kind) {
        fail("expected " + expected + ", found '" + peek().text + "'");
    }
    return take();
}

void TokenReader::fail(const std::string& message) const
{
    throw Error(formatted("line {}: {}", peek().line, message));
}

Depth::Depth(int& depth, const TokenReader& tokens)
    : depth_(depth)
{
    constexpr int most = 200;
    if (depth_ >= most) {
        tokens.fail(formatted("nested more than {} deep", most));
    }
    ++depth_;
}

} // namespace lava::jinja
