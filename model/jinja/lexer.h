#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lava::jinja {

struct Token
{
    enum class Kind
    {
        text, ///< outside of tags
        print_begin, ///< {{
        print_end,
        block_begin, ///< {%
        block_end,
        name,
        string,
        integer,
        number,
        symbol, ///< operators and brackets
        end
    };

    Kind kind = Kind::end;
    std::string text; ///< a string's value, a name, a symbol
    int line = 1;
};

/// Cuts a template into tokens as Jinja does with trim_blocks and lstrip_blocks, which is how transformers renders chat
/// templates: the line break behind a block goes, and so does white space before one; one line break at the very end
/// goes too. Throws Error naming the line of what cannot be read.
std::vector<Token> tokenize(std::string_view source);

} // namespace lava::jinja
