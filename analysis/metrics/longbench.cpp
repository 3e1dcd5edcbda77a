#include "analysis/metrics/longbench.h"

#include "base/error.h"

#include <algorithm>
#include <iterator>

namespace lava {

namespace {

bool contains(CharactersView text, CharactersView part)
{
    return text.find(part) != CharactersView::npos;
}

CharactersView without_first_breaks(CharactersView text)
{
    text.remove_prefix(std::min(text.find_first_not_of(U'\n'), text.size()));
    return text;
}

bool is_code(CharactersView line)
{
    return !contains(line, U"`") && !contains(line, U"#") && !contains(line, U"//");
}

CharactersView first_line_of_code(CharactersView text)
{
    for (const CharactersView line : split(without_first_breaks(text), U'\n')) {
        if (is_code(line))
            return line;
    }
    return {};
}

} // namespace

double classification(CharactersView prediction, CharactersView truth, std::span<const Characters> classes)
{
    std::vector<CharactersView> named;
    std::ranges::copy_if(classes, std::back_inserter(named),
        [prediction](const Characters& name) { return contains(prediction, name); });
    for (std::size_t i = 0; i < named.size(); ++i) {
        const CharactersView name = named[i];
        if (contains(truth, name) && name != truth)
            named.erase(std::ranges::find(named, name));
    }
    return std::ranges::find(named, truth) == named.end() ? 0 : 1.0 / static_cast<double>(named.size());
}

double count_score(CharactersView prediction, CharactersView truth)
{
    const std::vector<CharactersView> numbers = numbers_of(prediction);
    const auto right = static_cast<double>(std::ranges::count(numbers, truth));
    return numbers.empty() ? 0 : right / static_cast<double>(numbers.size());
}

double retrieval(CharactersView prediction, CharactersView truth, CharactersView before)
{
    for (std::size_t at = truth.find(before); at != CharactersView::npos; at = truth.find(before, at + 1)) {
        const CharactersView rest = truth.substr(at + before.size());
        const auto end = std::ranges::find_if_not(rest, is_digit);
        if (end != rest.begin())
            return count_score(prediction, rest.substr(0, static_cast<std::size_t>(end - rest.begin())));
    }
    throw Error("expected '" + utf8_of(before) + "' and a number, found '" + utf8_of(truth) + "'");
}

double code_similarity(
    CharactersView prediction, CharactersView truth, int (*ratio)(CharactersView first, CharactersView second))
{
    return ratio(first_line_of_code(prediction), truth) / 100.0;
}

CharactersView first_line(CharactersView prediction)
{
    return split(without_first_breaks(prediction), U'\n').front();
}

} // namespace lava
