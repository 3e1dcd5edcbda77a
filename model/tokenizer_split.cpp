#include "model/tokenizer_split.h"

#include "traces/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <optional>
#include <stdexcept>
#include <string>

namespace lava {

namespace {

// Unicode's White_Space spelled out: PCRE2's own \s counts U+180E too, which the tokenizers library does not
const std::string space = R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string gpt2_pattern()
{
    return R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^)" + space + R"(\p{L}\p{N}]+|[)" + space + R"(]+(?![^)"
        + space + R"(])|[)" + space + "]+";
}

std::string digit_pattern(DigitSplit digits)
{
    return digits == DigitSplit::runs ? R"(\p{N}+)" : R"(\p{N})";
}

} // namespace

struct WordSplitter::Pattern
{
    explicit Pattern(const std::string& pattern)
    {
        int error = 0;
        PCRE2_SIZE offset = 0;
        code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
            &error, &offset, nullptr);
        if (code == nullptr) {
            throw std::logic_error("the word pattern does not compile at character " + std::to_string(offset));
        }
        // without JIT (a hardened kernel, say) the interpreter gives the same matches
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    }
    ~Pattern() { pcre2_code_free(code); }
    Pattern(const Pattern&) = delete;
    Pattern& operator=(const Pattern&) = delete;

    pcre2_code* code = nullptr;
};

namespace {

/// Matches of one pattern in one text, in order.
class Matcher
{
public:
    Matcher(const pcre2_code* code, std::string_view text)
        : code_(code)
        , text_(text)
        , data_(pcre2_match_data_create(1, nullptr))
    { }
    ~Matcher() { pcre2_match_data_free(data_); }
    Matcher(const Matcher&) = delete;
    Matcher& operator=(const Matcher&) = delete;

    std::optional<ByteRange> find(std::size_t from)
    {
        // the whole text was checked once in encode(), and pieces begin and end between characters
        const int found = pcre2_match(
            code_, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), from, PCRE2_NO_UTF_CHECK, data_, nullptr);
        if (found == PCRE2_ERROR_NOMATCH) {
            return std::nullopt;
        }
        if (found < 0) {
            throw Error("a text of " + std::to_string(text_.size())
                + " bytes could not be split into words: PCRE2 error " + std::to_string(found));
        }
        const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data_);
        return ByteRange{range[0], range[1]};
    }

private:
    const pcre2_code* code_;
    std::string_view text_;
    pcre2_match_data* data_;
};

} // namespace

WordSplitter::WordSplitter(DigitSplit digits)
    : words_(std::make_unique<Pattern>(gpt2_pattern()))
    , digits_(digits == DigitSplit::none ? nullptr : std::make_unique<Pattern>(digit_pattern(digits)))
{ }

WordSplitter::~WordSplitter() = default;

void WordSplitter::split_words(
    std::string_view text, std::size_t begin, std::size_t end, std::vector<ByteRange>& words) const
{
    // the piece is a subject of its own: the pattern's look-ahead must not see the digit behind it
    Matcher matcher(words_->code, text.substr(begin, end - begin));
    for (std::size_t at = 0; at < end - begin;) {
        const std::optional<ByteRange> word = matcher.find(at);
        if (!word || word->begin != at || word->end == at) {
            throw std::logic_error("the word pattern left a gap");
        }
        words.push_back({begin + word->begin, begin + word->end});
        at = word->end;
    }
}

std::vector<ByteRange> WordSplitter::split(std::string_view text) const
{
    std::vector<ByteRange> words;
    std::size_t at = 0;
    if (digits_) {
        Matcher matcher(digits_->code, text);
        while (const std::optional<ByteRange> digits = matcher.find(at)) {
            split_words(text, at, digits->begin, words);
            split_words(text, digits->begin, digits->end, words);
            at = digits->end;
        }
    }
    split_words(text, at, text.size(), words);
    return words;
}

void require_utf8(std::string_view text)
{
    static const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> anything = [] {
        int error = 0;
        PCRE2_SIZE offset = 0;
        return std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>(
            pcre2_compile(reinterpret_cast<PCRE2_SPTR>(""), 0, PCRE2_UTF, &error, &offset, nullptr), pcre2_code_free);
    }();
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
        pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
    const int found = pcre2_match(
        anything.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(), nullptr);
    if (found < 0) {
        throw Error("the text is not valid UTF-8 at byte " + std::to_string(pcre2_get_startchar(data.get())));
    }
}

} // namespace lava
