#include "model/tokenizers/ruby_pattern.h"

#include "base/error.h"
#include "model/tokenizers/case_folding.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace lava {

namespace {

constexpr std::string_view digits = "0123456789";
constexpr std::size_t nothing = std::string::npos;

/// {low,high}, as Oniguruma reads it: {,high} is one too, {,} is not.
struct Interval
{
    std::string text; ///< in PCRE2's spelling
    bool fixed = false; ///< {low}
    bool none = false; ///< at most 0 times
    std::size_t size = 0; ///< of the text that was read
};

std::optional<Interval> read_interval(std::string_view pattern)
{
    std::size_t at = 1;
    const auto number = [&] {
        const std::size_t begin = std::min(at, pattern.size());
        at = std::min(pattern.find_first_not_of(digits, begin), pattern.size());
        return std::string(pattern.substr(begin, at - begin));
    };
    Interval result;
    const std::string low = number();
    result.fixed = at < pattern.size() && pattern[at] == '}';
    std::string high;
    if (!result.fixed) {
        if (at >= pattern.size() || pattern[at] != ',') {
            return std::nullopt;
        }
        ++at;
        high = number();
    }
    if (at >= pattern.size() || pattern[at] != '}' || (low.empty() && high.empty())) {
        return std::nullopt;
    }
    result.text = "{" + (low.empty() ? "0" : low) + (result.fixed ? "" : "," + high) + "}";
    result.none = (result.fixed ? low : high).find_first_not_of('0') == nothing && !(result.fixed ? low : high).empty();
    result.size = at + 1;
    return result;
}

/// Whether two texts are equal but for the case of ASCII letters.
bool same(std::string_view a, std::string_view b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
        [](unsigned char left, unsigned char right) { return std::tolower(left) == std::tolower(right); });
}

class Translation
{
public:
    Translation(const std::string& pattern, const std::string& what)
        : pattern_(pattern)
        , what_(what)
    { }

    std::string run()
    {
        while (at_ < pattern_.size()) {
            if (pattern_[at_] == '\\') {
                escape();
            } else if (in_class_) {
                class_character();
            } else {
                plain_character();
            }
        }
        result_.append(groups_.front().options, ')');
        return result_;
    }

private:
    struct Group
    {
        std::size_t begin = nothing; ///< in the result; nothing: it cannot be repeated
        std::size_t options = 0; ///< brackets opened for an option that holds to the group's end
        bool ignores_case = false;
    };

    [[noreturn]] void refuse(const std::string& construct) const
    {
        throw Error(what_ + ": " + construct + " in a pattern is not supported: " + pattern_.substr(0, 80));
    }

    char peek(std::size_t ahead) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
    void copy(std::size_t count)
    {
        result_ += pattern_.substr(at_, count);
        at_ += count;
    }
    void replace(std::size_t count, std::string_view by)
    {
        result_ += by;
        at_ += count;
    }
    /// What follows may be repeated.
    void begin_atom()
    {
        if (!in_class_) {
            atom_ = result_.size();
        }
    }

    /// A character that stands for itself, in a class or outside of one.
    void literal(char32_t character)
    {
        if (!groups_.back().ignores_case) {
            return;
        }
        if (!(in_class_ ? fold_.agrees_in_class(character) : fold_.agrees(character))) {
            refuse("a letter that is several where case is ignored (ss is \u00df)");
        }
    }

    void escape()
    {
        begin_atom();
        if (peek(1) != 'x') {
            fold_.forget();
        }
        if (in_class_ && groups_.back().ignores_case && std::strchr("wSD", peek(1)) != nullptr) {
            refuse(std::string("\\") + peek(1) + " in a class where case is ignored");
        }
        switch (const char next = peek(1)) {
        case 's': // PCRE2's own counts U+180E too
            return replace(2, R"(\p{White_Space})");
        case 'S':
            return replace(2, R"(\P{White_Space})");
        case 'w': // Oniguruma's word characters; PCRE2's are letters, numbers and the underscore
            return replace(2, in_class_ ? word : "[" + word + latin_word + "]");
        case 'W':
            return in_class_ ? refuse("\\W inside a class") : replace(2, "[^" + word + latin_word + "]");
        case 'p':
        case 'P':
            return property();
        case 'v': // any vertical white space in PCRE2
            return replace(2, R"(\x0b)");
        case 'x':
            return code();
        case 'A':
        case 'z':
        case 'Z':
            if (in_class_) {
                refuse(std::string("\\") + next + " inside a class");
            }
            atom_ = nothing;
            return copy(2);
        case 'd':
        case 'D':
        case 'n':
        case 'r':
        case 't':
        case 'f':
        case 'a':
        case 'e':
            return copy(2);
        default:
            if (std::isalnum(static_cast<unsigned char>(next)) != 0 || next == '\0') {
                refuse(std::string("\\") + next);
            }
            ++at_;
            result_ += '\\';
            return copy_literal();
        }
    }

    /// \x4a or \x{4a}. Without braces Oniguruma means a byte of UTF-8, PCRE2 a character.
    void code()
    {
        const std::size_t begin = peek(2) == '{' ? 3 : 2;
        std::size_t end = begin;
        while (std::isxdigit(static_cast<unsigned char>(peek(end))) != 0 && (begin == 3 || end < 4)) {
            ++end;
        }
        const bool ascii = end == begin + 1 || peek(begin) < '8';
        if (end == begin || (begin == 3 ? peek(end) != '}' : !ascii)) {
            refuse(begin == 3 ? "\\x{ without a number and }" : "\\x beyond 7f without braces");
        }
        std::uint32_t value = 0;
        const char* first = pattern_.data() + at_;
        if (std::from_chars(first + begin, first + end, value, 16).ec != std::errc() || value > 0x10ffff) {
            refuse("a character beyond 10ffff");
        }
        literal(value);
        copy(end + (begin == 3 ? 1 : 0));
    }

    /// Scripts must be asked for as such: PCRE2 reads a bare name as the script with its extensions.
    void property()
    {
        static constexpr std::array<std::string_view, 43> both{"Alphabetic", "White_Space", "Uppercase", "Lowercase",
            "Any", "Emoji", "C", "Cc", "Cf", "Cn", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn",
            "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z",
            "Zl", "Zp", "Zs"};
        const std::size_t close = pattern_.find('}', at_);
        if (peek(2) != '{' || close == std::string::npos) {
            refuse("a property without braces");
        }
        const std::size_t begin = at_ + (peek(3) == '^' ? 4 : 3);
        const std::string name = pattern_.substr(begin, close - begin);
        const bool alike
            = std::any_of(both.begin(), both.end(), [&](std::string_view known) { return same(known, name); });
        const std::string text = pattern_.substr(at_, begin - at_) + (alike ? name : "sc:" + name) + "}";
        // where case is ignored a class holds the other cases of its members too, a property does not
        if (groups_.back().ignores_case) {
            const bool negated = peek(1) == 'P' || peek(3) == '^';
            if (in_class_ && (negated || !alike || name.size() > 2 || std::strchr("NPSZnpsz", name[0]) == nullptr)) {
                refuse("a property of letters in a class where case is ignored");
            }
            result_ += in_class_ ? text : "(?-i:" + text + ")";
        } else {
            result_ += text;
        }
        at_ = close + 1;
    }

    void class_character()
    {
        if (pattern_[at_] == '[') {
            refuse("a class inside a class");
        }
        if (pattern_[at_] == '&' && peek(1) == '&') {
            refuse("&&");
        }
        if (pattern_[at_] == ']') {
            in_class_ = false;
            return copy(1);
        }
        copy_literal();
    }

    void copy_literal()
    {
        literal(character_at(at_));
        copy(character_size(0));
    }

    void plain_character()
    {
        switch (pattern_[at_]) {
        case '[':
            return begin_class();
        case '(':
            return begin_group();
        case ')':
            return end_group();
        case '*':
        case '+':
        case '?':
            return quantifier();
        case '{':
            return interval();
        case '|':
        case '^':
        case '$':
            atom_ = nothing;
            fold_.forget();
            return copy(1);
        default:
            begin_atom();
            return copy_literal();
        }
    }

    /// The pattern is UTF-8: it comes from a JSON file.
    char32_t character_at(std::size_t at) const
    {
        const auto lead = static_cast<unsigned char>(pattern_[at]);
        const std::size_t size = character_size(at - at_);
        char32_t value = size == 1 ? lead : lead & (0xffU >> (size + 1));
        for (std::size_t i = 1; i < size; ++i) {
            value = value << 6 | (static_cast<unsigned char>(pattern_[at + i]) & 0x3fU);
        }
        return value;
    }

    std::size_t character_size(std::size_t ahead) const
    {
        std::size_t size = 1;
        while ((static_cast<unsigned char>(peek(ahead + size)) & 0xc0) == 0x80) {
            ++size;
        }
        return size;
    }

    void begin_class()
    {
        begin_atom();
        in_class_ = true;
        fold_.forget();
        fold_.begin_class();
        const std::size_t head = peek(1) == '^' ? 2 : 1;
        if (peek(head) == ']') {
            refuse("an empty class");
        }
        copy(head);
    }

    void begin_group()
    {
        if (peek(1) == '*') {
            refuse("(*");
        }
        const bool ignores_case = groups_.back().ignores_case;
        if (peek(1) != '?') {
            groups_.push_back({result_.size(), 0, ignores_case});
            return copy(1);
        }
        const std::string_view rest = std::string_view(pattern_).substr(at_);
        if (rest.starts_with("(?i)") || rest.starts_with("(?-i)")) {
            // it holds to the group's end, alternatives included
            const std::size_t size = rest.find(')');
            groups_.back().ignores_case = size == 3;
            ++groups_.back().options;
            result_ += std::string(rest.substr(0, size)) + ":";
            at_ += size + 1;
            atom_ = nothing;
            return;
        }
        for (const std::string_view known : {"(?:", "(?>", "(?i:", "(?-i:", "(?=", "(?!", "(?<=", "(?<!"}) {
            if (rest.starts_with(known)) {
                const bool repeatable = known.back() != '=' && known.back() != '!';
                const bool own = known == "(?i:" || known == "(?-i:";
                groups_.push_back({repeatable ? result_.size() : nothing, 0, own ? known == "(?i:" : ignores_case});
                return copy(known.size());
            }
        }
        refuse(pattern_.substr(at_, 4));
    }

    void end_group()
    {
        if (groups_.size() == 1) {
            refuse("a ) without its (");
        }
        const Group group = groups_.back();
        groups_.pop_back();
        result_.append(group.options, ')');
        atom_ = group.begin;
        copy(1);
    }

    void require_atom() const
    {
        if (atom_ == nothing) {
            refuse("a repetition of nothing");
        }
    }

    /// *, + or ?, lazy or possessive where ? or + follows.
    void quantifier()
    {
        require_atom();
        copy(peek(1) == '?' || peek(1) == '+' ? 2 : 1);
        fold_.forget(); // not behind {1}, which changes nothing
        end_quantifier();
    }

    void interval()
    {
        const std::optional<Interval> found = read_interval(std::string_view(pattern_).substr(at_));
        if (!found) {
            begin_atom();
            fold_.forget();
            return replace(1, R"(\{)");
        }
        require_atom();
        if (found->none) { // PCRE2 10.42 still heeds an anchor inside
            refuse(found->text);
        }
        replace(found->size, found->text);
        if (peek(0) == '+') { // one more repetition there, possessive here
            refuse("}+");
        }
        if (peek(0) == '?' && found->fixed) { // an option there, lazy here
            result_.insert(atom_, "(?:");
            result_ += ")";
            return quantifier();
        }
        if (peek(0) == '?') {
            copy(1);
        }
        end_quantifier();
    }

    void end_quantifier()
    {
        const char next = peek(0);
        if (next == '*' || next == '+' || next == '?'
            || (next == '{' && read_interval(std::string_view(pattern_).substr(at_)))) {
            refuse("a repetition of a repetition");
        }
        atom_ = nothing;
    }

    inline static const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
    /// Oniguruma counts these fractions and exponents outside of a class only.
    inline static const std::string latin_word = R"(\xb2\xb3\xb9\xbc-\xbe)";
    const std::string& pattern_;
    const std::string& what_;
    std::string result_;
    std::size_t at_ = 0;
    std::size_t atom_ = nothing; ///< where in the result what a quantifier would repeat begins
    bool in_class_ = false;
    FoldWatch fold_;
    std::vector<Group> groups_{Group{}}; ///< the whole pattern first
};

} // namespace

std::string translate_ruby_pattern(const std::string& pattern, const std::string& what)
{
    return Translation(pattern, what).run();
}

} // namespace lava
