#include "model/tokenizers/pattern.h"

#include "base/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <optional>

namespace lava {

const std::string gpt2_pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

/// Oniguruma's dialect (Ruby) in PCRE2's. What both read alike passes through; what they read differently is spelled
/// out, or refused.
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
        return result_;
    }

private:
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

    void escape()
    {
        switch (const char next = peek(1)) {
        case 's': // PCRE2's own counts U+180E too
            return replace(2, R"(\p{White_Space})");
        case 'S':
            return replace(2, R"(\P{White_Space})");
        case 'w': // Oniguruma's word characters; PCRE2's are letters, numbers and the underscore
            return replace(2, in_class_ ? word : "[" + word + "]");
        case 'W':
            return in_class_ ? refuse("\\W inside a class") : replace(2, "[^" + word + "]");
        case 'p':
        case 'P':
            return property();
        case 'd':
        case 'D':
        case 'n':
        case 'r':
        case 't':
        case 'f':
        case 'v':
        case 'a':
        case 'e':
        case 'x':
        case 'A':
        case 'z':
        case 'Z':
            return copy(2);
        default:
            if (std::isalnum(static_cast<unsigned char>(next)) != 0 || next == '\0') {
                refuse(std::string("\\") + next);
            }
            return copy(2);
        }
    }

    /// Scripts must be asked for as such: PCRE2 reads a bare name as the script with its extensions.
    void property()
    {
        static constexpr std::array<std::string_view, 6> both{
            "Alphabetic", "White_Space", "Uppercase", "Lowercase", "Any", "Emoji"};
        const std::size_t close = pattern_.find('}', at_);
        if (peek(2) != '{' || close == std::string::npos) {
            refuse("a property without braces");
        }
        const std::size_t begin = at_ + (peek(3) == '^' ? 4 : 3);
        const std::string name = pattern_.substr(begin, close - begin);
        const bool alike = name.size() <= 2 || std::find(both.begin(), both.end(), name) != both.end();
        result_ += pattern_.substr(at_, begin - at_) + (alike ? name : "sc:" + name) + "}";
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
        }
        copy(1);
    }

    void plain_character()
    {
        if (pattern_[at_] == '[') {
            in_class_ = true;
            const std::size_t head = peek(1) == '^' ? 2 : 1;
            if (peek(head) == ']') {
                refuse("an empty class");
            }
            return copy(head);
        }
        if (pattern_[at_] == '(' && peek(1) == '?') {
            return group();
        }
        if (pattern_[at_] == '(' && peek(1) == '*') {
            refuse("(*");
        }
        if (pattern_[at_] == '}' && peek(1) == '+') { // one more repetition there, possessive here
            refuse("}+");
        }
        copy(1);
    }

    void group()
    {
        for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)", "(?-i:"}) {
            if (std::string_view(pattern_).substr(at_).starts_with(known)) {
                return copy(known.size());
            }
        }
        refuse(pattern_.substr(at_, 4));
    }

    inline static const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\xb2\xb3\xb9\xbc-\xbe)";
    const std::string& pattern_;
    const std::string& what_;
    std::string result_;
    std::size_t at_ = 0;
    bool in_class_ = false;
};

struct MatchData
{
    pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
    MatchData() = default;
    ~MatchData() { pcre2_match_data_free(data); }
    MatchData(const MatchData&) = delete;
    MatchData& operator=(const MatchData&) = delete;
};

/// The pattern that matches `text` itself.
std::string literal_pattern(std::string_view text)
{
    std::string result;
    for (const char c : text) {
        if (std::strchr("\\^$.|?*+()[]{}&-#", c) != nullptr && c != '\0') {
            result += '\\';
        }
        result += c;
    }
    return result;
}

PCRE2_SPTR units(std::string_view text)
{
    return reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
}

std::size_t next_character(std::string_view text, std::size_t at)
{
    for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;) {
        ++at;
    }
    return at;
}

std::string error_text(int error)
{
    std::array<PCRE2_UCHAR, 160> buffer{};
    pcre2_get_error_message(error, buffer.data(), buffer.size());
    return reinterpret_cast<const char*>(buffer.data());
}

} // namespace

struct Pattern::Code
{
    Code(const std::string& pattern, const std::string& what)
    {
        const std::string translated = Translation(pattern, what).run();
        int error = 0;
        PCRE2_SIZE offset = 0;
        // Ruby's ^ and $ always mean lines
        code = pcre2_compile(
            units(translated), translated.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
        if (code == nullptr) {
            throw Error(what + ": the pattern does not compile: " + error_text(error) + ": " + pattern.substr(0, 80));
        }
        // without JIT (a hardened kernel, say) the interpreter gives the same matches
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    }
    ~Code() { pcre2_code_free(code); }
    Code(const Code&) = delete;
    Code& operator=(const Code&) = delete;

    std::optional<ByteRange> find(
        std::string_view text, std::size_t from, std::uint32_t options, MatchData& match) const
    {
        // the text was checked once in encode(), and pieces begin and end between characters
        int found
            = pcre2_match(code, units(text), text.size(), from, options | PCRE2_NO_UTF_CHECK, match.data, nullptr);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT) { // the interpreter takes its stack from the heap
            found = pcre2_match(
                code, units(text), text.size(), from, options | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match.data, nullptr);
        }
        if (found == PCRE2_ERROR_NOMATCH) {
            return std::nullopt;
        }
        if (found < 0) {
            throw Error("a text of " + std::to_string(text.size())
                + " bytes could not be split into words: " + error_text(found));
        }
        const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.data);
        return ByteRange{range[0], range[1]};
    }

    pcre2_code* code = nullptr;
};

Pattern::Pattern(const std::string& pattern, const std::string& what)
    : code_(std::make_unique<Code>(pattern, what))
{ }

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

std::vector<ByteRange> Pattern::find_all(std::string_view text) const
{
    MatchData data;
    std::vector<ByteRange> matches;
    for (std::size_t at = 0; at <= text.size();) {
        const std::optional<ByteRange> match = code_->find(text, at, 0, data);
        if (!match) {
            break;
        }
        const bool empty = match->begin == match->end;
        if (!empty || matches.empty() || matches.back().end != match->begin) {
            matches.push_back(*match); // an empty match right behind another is none
        }
        at = empty ? next_character(text, match->end) : match->end;
    }
    return matches;
}

std::size_t Pattern::match_prefix(std::string_view text) const
{
    MatchData data;
    const std::optional<ByteRange> match = code_->find(text, 0, PCRE2_ANCHORED, data);
    return match ? match->end : 0;
}

Pattern read_pattern(const JsonView& json)
{
    json.require_known({"String", "Regex"});
    const std::optional<JsonView> literal = json.find("String");
    const std::string what = json.file() + ": " + json.path();
    return Pattern(literal ? literal_pattern(literal->string()) : json.string("Regex"), what);
}

void require_utf8(std::string_view text)
{
    static const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> anything = [] {
        int error = 0;
        PCRE2_SIZE offset = 0;
        return std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>(
            pcre2_compile(units(""), 0, PCRE2_UTF, &error, &offset, nullptr), pcre2_code_free);
    }();
    const MatchData match;
    const int found = pcre2_match(anything.get(), units(text), text.size(), 0, 0, match.data, nullptr);
    if (found < 0) {
        throw Error("the text is not valid UTF-8 at byte " + std::to_string(pcre2_get_startchar(match.data)));
    }
}

} // namespace lava
