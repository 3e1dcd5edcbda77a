#include "model/tokenizers/pattern.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/tokenizers/ruby_pattern.h"

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
        const std::string translated = translate_ruby_pattern(pattern, what);
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
            throw Error(
                formatted("a text of {} bytes could not be split into words: {}", text.size(), error_text(found)));
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
        throw Error(formatted("the text is not valid UTF-8 at byte {}", pcre2_get_startchar(match.data)));
    }
}

std::string checked_text(std::string text, const std::filesystem::path& file)
{
    if (text.empty()) {
        throw Error(file.string() + ": is empty");
    }
    try {
        require_utf8(text);
    } catch (const Error& error) {
        throw Error(file.string() + ": " + error.what());
    }
    return text;
}

} // namespace lava
