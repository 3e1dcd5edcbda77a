#pragma once

#include "model/jinja/value.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression
{
    enum class Kind
    {
        literal, ///< value
        name, ///< name
        list, ///< operands; a tuple where name is ","
        dict, ///< operands: keys and values in turn
        member, ///< operands[0].name
        item, ///< operands[0][operands[1]]
        slice, ///< operands[0][operands[1]:operands[2]:operands[3]]; null where left out
        call, ///< operands[0](further operands, named)
        filter, ///< operands[0] | name(further operands, named)
        test, ///< operands[0] is name(further operands)
        unary, ///< name operands[0]
        binary, ///< operands[0] name operands[1]
        logical_and,
        logical_or,
        conditional ///< operands[0] if operands[1] else operands[2]; null where left out
    };

    Kind kind = Kind::literal;
    int line = 1;
    int depth = 1; ///< of the tree below, itself included
    std::string name;
    std::string refusal; ///< why it cannot be evaluated; empty: it can
    Value value;
    std::vector<ExpressionPtr> operands;
    std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Statement;
using Block = std::vector<Statement>;

struct Parameter
{
    std::string name;
    ExpressionPtr otherwise; ///< null: none
};

struct Statement
{
    enum class Kind
    {
        text, ///< text
        print, ///< value
        condition, ///< value, body, otherwise
        loop, ///< for names in value [if filter]: body, otherwise
        assign, ///< set names = value
        assign_member, ///< set names[0].names[1] = value
        assign_block, ///< set names[0]: body
        macro, ///< text, parameters, body
        scope, ///< body
        leave, ///< break
        next, ///< continue
        unsupported ///< text: why
    };

    Kind kind = Kind::text;
    int line = 1;
    std::string text;
    std::vector<std::string> names;
    ExpressionPtr value, filter;
    std::vector<Parameter> parameters;
    Block body, otherwise;
};

/// What is not supported is refused when it is rendered: many a template has a branch that is never reached. Throws
/// Error naming the line of what is malformed.
Block parse(std::string_view source);

} // namespace lava::jinja
