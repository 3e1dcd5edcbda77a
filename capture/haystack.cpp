#include "capture/haystack.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace lava {

namespace {

bool is_space(char c)
{
    return std::isspace(static_cast<unsigned char>(c)) != 0;
}

std::vector<std::size_t> word_ends(std::string_view text)
{
    std::vector<std::size_t> ends;
    for (std::size_t i = 1; i <= text.size(); ++i) {
        if (!is_space(text[i - 1]) && (i == text.size() || is_space(text[i]))) {
            ends.push_back(i);
        }
    }
    return ends;
}

/// The sentence boundary of `haystack` nearest to `depth`; its very beginning is one.
std::size_t boundary_near(std::string_view haystack, double depth)
{
    const double wanted = depth * static_cast<double>(haystack.size());
    std::vector<std::size_t> boundaries = sentence_ends(haystack);
    boundaries.insert(boundaries.begin(), 0);
    boundaries.push_back(haystack.size());
    return *std::min_element(boundaries.begin(), boundaries.end(), [wanted](std::size_t a, std::size_t b) {
        return std::abs(static_cast<double>(a) - wanted) < std::abs(static_cast<double>(b) - wanted);
    });
}

NeedleText compose(const NeedleRequest& request, std::string_view haystack)
{
    const std::size_t at = boundary_near(haystack, request.depth);
    NeedleText result;
    result.text = haystack.substr(0, at);
    result.text += at > 0 ? " " : "";
    result.needle = {result.text.size(), result.text.size() + request.needle.size()};
    result.text += request.needle;
    if (at < haystack.size() && !is_space(haystack[at])) {
        result.text += ' ';
    }
    result.text += haystack.substr(at);
    result.haystack = {0, result.text.size()};
    result.text += "\n\n";
    result.question = {result.text.size(), result.text.size() + request.question.size()};
    result.text += request.question;
    return result;
}

/// Words of `text` with one space between them.
std::string collapsed(std::string_view text)
{
    std::string result;
    bool gap = false;
    for (const char c : text) {
        if (is_space(c)) {
            gap = !result.empty();
            continue;
        }
        result += gap ? " " : "";
        result += c;
        gap = false;
    }
    return result;
}

} // namespace

std::vector<std::size_t> sentence_ends(std::string_view text)
{
    std::vector<std::size_t> ends;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '.' && text[i] != '!' && text[i] != '?') {
            continue;
        }
        std::size_t end = i + 1;
        while (end < text.size() && (text[end] == '"' || text[end] == '\'' || text[end] == ')')) {
            ++end;
        }
        if (end == text.size() || is_space(text[end])) {
            ends.push_back(end);
        }
    }
    return ends;
}

NeedleText plant_needle(const NeedleRequest& request, const std::function<std::int64_t(std::string_view)>& count)
{
    // no token of the tokenizers here stands for more than a few bytes on average: a longer text is not looked at
    const std::size_t enough = static_cast<std::size_t>(request.tokens) * 16;
    const std::string text = collapsed(request.haystack);
    const std::string_view haystack = text;
    const std::string_view searched = haystack.substr(0, enough);
    std::vector<std::size_t> cuts = sentence_ends(searched);
    if (cuts.empty()) {
        cuts = word_ends(searched);
    }
    if (!cuts.empty() && searched.size() < haystack.size() && cuts.back() == searched.size()) {
        cuts.pop_back(); // an end of what was looked at, not of a sentence or word
    }
    // the last cut that fits; the number of tokens grows with the text
    const auto too_long = std::partition_point(cuts.begin(), cuts.end(),
        [&](std::size_t cut) { return count(compose(request, haystack.substr(0, cut)).text) <= request.tokens; });
    if (too_long == cuts.begin()) {
        const std::size_t shortest = cuts.empty() ? 0 : cuts.front();
        throw Error(formatted("--tokens {}: expected room for the needle, the question and one sentence of the "
                              "haystack, which take {} tokens",
            request.tokens, count(compose(request, haystack.substr(0, shortest)).text)));
    }
    return compose(request, haystack.substr(0, *std::prev(too_long)));
}

} // namespace lava
