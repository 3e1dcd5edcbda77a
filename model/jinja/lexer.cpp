#include "model/jinja/lexer.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/jinja/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>

namespace lava::jinja {

namespace {

/// Line breaks as \n; the last one goes.
std::string normalized(std::string_view source)
{
    std::string result;
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] == '\r') {
            result += '\n';
            i += i + 1 < source.size() && source[i + 1] == '\n' ? 1 : 0;
        } else {
            result += source[i];
        }
    }
    if (result.ends_with('\n')) {
        result.pop_back();
    }
    return result;
}

class Lexer
{
public:
    explicit Lexer(std::string_view source)
        : source_(normalized(source))
    { }

    std::vector<Token> run()
    {
        while (at_ < source_.size()) {
            const std::size_t open = next_tag();
            read_text(open);
            if (at_ == source_.size()) {
                break;
            }
            const char kind = source_[at_ + 1];
            const std::size_t skipped
                = at_ + 2 < source_.size() && (source_[at_ + 2] == '-' || source_[at_ + 2] == '+');
            if (kind == '#') {
                read_comment();
                continue;
            }
            if (kind == '%' && read_raw()) {
                continue;
            }
            push(kind == '{' ? Token::Kind::print_begin : Token::Kind::block_begin, source_.substr(at_, 2));
            at_ += 2 + skipped;
            read_tag(kind == '{' ? "}}" : "%}", kind == '{' ? Token::Kind::print_end : Token::Kind::block_end);
        }
        push(Token::Kind::end, "end of the template");
        return std::move(tokens_);
    }

private:
    [[noreturn]] void fail(const std::string& message) const { throw Error(formatted("line {}: {}", line_, message)); }

    void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

    std::size_t next_tag() const
    {
        std::size_t open = source_.find('{', at_);
        while (open != std::string::npos && open + 1 < source_.size() && source_[open + 1] != '{'
            && source_[open + 1] != '%' && source_[open + 1] != '#') {
            open = source_.find('{', open + 1);
        }
        return open == std::string::npos || open + 1 >= source_.size() ? source_.size() : open;
    }

    /// Text up to the tag at `open`, less the white space that the tag takes away.
    void read_text(std::size_t open)
    {
        std::string text = source_.substr(at_, open - at_);
        if (open < source_.size()) {
            const char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
            const std::size_t line = text.find_last_of('\n') + 1; // 0 where there is none
            const bool whole_line = line > 0 || line_starting_;
            if (sign == '-') {
                text = strip(text, false, true);
            } else if (sign != '+' && source_[open + 1] != '{' && whole_line
                && text.find_first_not_of(" \t", line) == std::string::npos) {
                text.resize(line);
            }
        }
        if (!text.empty()) {
            push(Token::Kind::text, text);
        }
        advance(open);
    }

    void advance(std::size_t to)
    {
        line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
            source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
        at_ = to;
    }

    /// Behind a tag, whose last character is at_ - 1: white space that it takes away.
    void close(char sign, bool trims_line)
    {
        std::size_t to = at_;
        if (sign == '-') {
            const std::string_view rest = std::string_view(source_).substr(at_);
            to = source_.size() - strip(rest, true, false).size();
        } else if (sign != '+' && trims_line && to < source_.size() && source_[to] == '\n') {
            ++to;
        }
        line_starting_ = to > at_ && source_[to - 1] == '\n';
        advance(to);
    }

    void read_comment()
    {
        const std::size_t end = source_.find("#}", at_ + 2);
        if (end == std::string::npos) {
            fail("a comment without an end");
        }
        const char sign = end > at_ + 2 ? source_[end - 1] : '\0';
        advance(end + 2);
        close(sign, true);
    }

    void read_tag(std::string_view end, Token::Kind end_kind)
    {
        std::size_t depth = 0; // open brackets: "}}" may close two dicts
        while (true) {
            skip_space();
            if (at_ >= source_.size()) {
                fail("a tag without an end");
            }
            const bool signed_end = (source_[at_] == '-' || source_[at_] == '+')
                && std::string_view(source_).substr(at_ + 1).starts_with(end);
            if (depth == 0 && (signed_end || std::string_view(source_).substr(at_).starts_with(end))) {
                const char sign = signed_end ? source_[at_] : '\0';
                push(end_kind, std::string(end));
                at_ += end.size() + (signed_end ? 1 : 0);
                return close(sign, end_kind == Token::Kind::block_end);
            }
            read_token(depth);
        }
    }

    /// Where "{% name %}" at `at` ends, and its last sign; 0: something else stands there.
    std::pair<std::size_t, char> plain_tag(std::size_t at, std::string_view name) const
    {
        const auto next = [&](std::size_t from) { return from < source_.size() ? source_[from] : '\0'; };
        const auto skip
            = [&](std::size_t from) { return std::min(source_.find_first_not_of(" \t\r\n", from), source_.size()); };
        if (!std::string_view(source_).substr(at).starts_with("{%")) {
            return {};
        }
        at += next(at + 2) == '-' || next(at + 2) == '+' ? 3 : 2;
        at = skip(at);
        if (!std::string_view(source_).substr(at).starts_with(name)) {
            return {};
        }
        at = skip(at + name.size());
        const char sign = next(at) == '-' || next(at) == '+' ? next(at) : '\0';
        at += sign != '\0' ? 1 : 0;
        return std::string_view(source_).substr(at).starts_with("%}") ? std::pair{at + 2, sign}
                                                                      : std::pair{std::size_t{0}, '\0'};
    }

    /// What stands between "{% raw %}", which is here, and "{% endraw %}" is text. False where something else stands
    /// here.
    bool read_raw()
    {
        const auto [begin, begin_sign] = plain_tag(at_, "raw");
        if (begin == 0) {
            return false;
        }
        advance(begin);
        close(begin_sign, false);
        for (std::size_t open = source_.find("{%", at_); open != std::string::npos;
             open = source_.find("{%", open + 2)) {
            if (const auto [end, sign] = plain_tag(open, "endraw"); end != 0) {
                read_text(open);
                advance(end);
                close(sign, true);
                return true;
            }
        }
        fail("expected {% endraw %}, found the end of the template");
    }

    void skip_space()
    {
        while (at_ < source_.size() && std::isspace(static_cast<unsigned char>(source_[at_])) != 0) {
            advance(at_ + 1);
        }
    }

    void read_token(std::size_t& depth)
    {
        const char c = source_[at_];
        if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_') {
            const std::size_t end
                = std::find_if(source_.begin() + static_cast<std::ptrdiff_t>(at_), source_.end(),
                      [](char d) { return std::isalnum(static_cast<unsigned char>(d)) == 0 && d != '_'; })
                - source_.begin();
            push(Token::Kind::name, source_.substr(at_, end - at_));
            at_ = end;
        } else if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
            read_number();
        } else if (c == '\'' || c == '"') {
            read_string(c);
        } else {
            read_symbol(depth);
        }
    }

    /// 0x1f, 0o17 or 0b11, kept in decimal. False where something else stands here.
    bool read_integer_of_base()
    {
        const char sign = at_ + 1 < source_.size() && source_[at_] == '0' ? source_[at_ + 1] : '\0';
        const int base = sign == 'x' || sign == 'X' ? 16
            : sign == 'o' || sign == 'O'            ? 8
            : sign == 'b' || sign == 'B'            ? 2
                                                    : 0;
        if (base == 0) {
            return false;
        }
        std::size_t end = at_ + 2;
        while (end < source_.size()
            && (std::isalnum(static_cast<unsigned char>(source_[end])) != 0 || source_[end] == '_')) {
            ++end;
        }
        std::string number = source_.substr(at_ + 2, end - at_ - 2);
        std::erase(number, '_');
        std::int64_t value = 0;
        const auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), value, base);
        if (error != std::errc() || rest != number.data() + number.size()) {
            fail("a malformed number: " + source_.substr(at_, end - at_));
        }
        push(Token::Kind::integer, std::to_string(value));
        at_ = end;
        return true;
    }

    void read_number()
    {
        const auto digits = [this](std::size_t at) {
            while (at < source_.size()
                && (std::isdigit(static_cast<unsigned char>(source_[at])) != 0 || source_[at] == '_')) {
                ++at;
            }
            return at;
        };
        const auto is_digit = [this](std::size_t at) {
            return at < source_.size() && std::isdigit(static_cast<unsigned char>(source_[at])) != 0;
        };
        if (read_integer_of_base()) {
            return;
        }
        std::size_t end = digits(at_);
        const bool fraction = end < source_.size() && source_[end] == '.' && is_digit(end + 1);
        end = fraction ? digits(end + 1) : end;
        const std::size_t sign
            = end + 1 < source_.size() && (source_[end + 1] == '-' || source_[end + 1] == '+') ? 1 : 0;
        const bool exponent
            = end < source_.size() && (source_[end] == 'e' || source_[end] == 'E') && is_digit(end + 1 + sign);
        end = exponent ? digits(end + 1 + sign) : end;
        if (end < source_.size() && std::isalnum(static_cast<unsigned char>(source_[end])) != 0) {
            fail("a malformed number: " + source_.substr(at_, end - at_ + 1));
        }
        std::string number = source_.substr(at_, end - at_);
        std::erase(number, '_');
        push(fraction || exponent ? Token::Kind::number : Token::Kind::integer, number);
        at_ = end;
    }

    void read_string(char quote)
    {
        std::string value;
        std::size_t at = at_ + 1;
        for (; at < source_.size() && source_[at] != quote; ++at) {
            if (source_[at] == '\\' && at + 1 < source_.size()) {
                at = read_escape(at, value);
            } else {
                value += source_[at];
            }
        }
        if (at >= source_.size()) {
            fail("a string without an end");
        }
        push(Token::Kind::string, value);
        advance(at + 1);
    }

    /// The escape at `at`, as Python reads it. Returns its last character.
    std::size_t read_escape(std::size_t at, std::string& value) const
    {
        static constexpr std::string_view from = "nrtabfv\\'\"", to = "\n\r\t\a\b\f\v\\'\"";
        const char c = source_[at + 1];
        if (const std::size_t known = from.find(c); known != std::string_view::npos) {
            value += to[known];
        } else if (c == '\n') { // a line that goes on
        } else if (c == 'x' || c == 'u' || c == 'U') {
            return read_code(at, c == 'x' ? 2 : c == 'u' ? 4 : 8, value);
        } else if (c >= '0' && c <= '7') {
            return read_octal(at, value);
        } else {
            value += {'\\', c};
        }
        return at + 1;
    }

    /// One to three octal digits.
    std::size_t read_octal(std::size_t at, std::string& value) const
    {
        std::uint32_t code = 0;
        std::size_t end = at + 1;
        while (end < source_.size() && end < at + 4 && source_[end] >= '0' && source_[end] <= '7') {
            code = code * 8 + static_cast<std::uint32_t>(source_[end++] - '0');
        }
        value += encode_character(code);
        return end - 1;
    }

    std::size_t read_code(std::size_t at, std::size_t digits, std::string& value) const
    {
        const std::string hex = source_.substr(at + 2, digits);
        const bool valid = hex.size() == digits
            && std::all_of(hex.begin(), hex.end(), [](unsigned char d) { return std::isxdigit(d) != 0; });
        const std::uint32_t code = valid ? static_cast<std::uint32_t>(std::stoul(hex, nullptr, 16)) : 0x110000;
        if (code >= 0x110000 || (code >= 0xd800 && code < 0xe000)) {
            fail(std::string("an escape in a string that is no character: \\") + source_[at + 1]);
        }
        value += encode_character(code);
        return at + 1 + digits;
    }

    void read_symbol(std::size_t& depth)
    {
        static constexpr std::array<std::string_view, 29> symbols{"==", "!=", "<=", ">=", "//", "**", "+", "-", "*",
            "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ".", ",", ":", "|", ";", "!", "&", "@"};
        for (const std::string_view symbol : symbols) {
            if (std::string_view(source_).substr(at_).starts_with(symbol)) {
                const bool opens = symbol == "(" || symbol == "[" || symbol == "{";
                const bool closes = symbol == ")" || symbol == "]" || symbol == "}";
                depth += opens ? 1 : 0;
                depth -= closes && depth > 0 ? 1 : 0;
                push(Token::Kind::symbol, std::string(symbol));
                at_ += symbol.size();
                return;
            }
        }
        const std::string rest = source_.substr(at_, 4);
        fail("a character that is not expected here: '" + rest.substr(0, character_offsets(rest)[1]) + "'");
    }

    std::string source_;
    std::size_t at_ = 0;
    int line_ = 1;
    bool line_starting_ = true; ///< the tag before took the line break with it
    std::vector<Token> tokens_;
};

} // namespace

std::vector<Token> tokenize(std::string_view source)
{
    return Lexer(source).run();
}

} // namespace lava::jinja
