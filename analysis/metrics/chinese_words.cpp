#include "analysis/metrics/chinese_words.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

namespace lava {

namespace {

/// Where a character stands in its word: at its beginning, at its end, in its middle, or as the whole word. jieba's
/// letters B, E, M, S, whose order decides between equally likely ways.
enum State : std::size_t
{
    begins,
    ends,
    middle,
    single
};
constexpr std::size_t num_states = 4;
constexpr std::string_view letters = "BEMS";

constexpr double never = -3.14e100; // log probability of what was not seen

// what jieba's finalseg/prob_start.py and prob_trans.py hold
constexpr double start[num_states] = {-0.26268660809250016, never, never, -1.4652633398537678};
constexpr double transition[num_states][num_states] = { // [from, to]
    {never, -0.510825623765990, -0.916290731874155, never}, {-0.5897149736854513, never, never, -0.8085250474669937},
    {never, -0.33344856811948514, -1.2603623820268226, never},
    {-0.7211965654669841, never, never, -0.6658631448798212}};
constexpr State before[num_states][2] = {{ends, single}, {begins, middle}, {begins, middle}, {ends, single}};

bool is_han(char32_t c)
{
    return c >= 0x4E00 && c <= 0x9FD5;
}

bool is_ascii_letter_or_digit(char32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// What is looked up in the dictionary; anything else is a word by itself.
bool is_looked_up(char32_t c)
{
    return is_han(c) || is_ascii_letter_or_digit(c) || CharactersView(U"+#&._%-").find(c) != CharactersView::npos;
}

/// Calls `use` with each maximal stretch of which every character answers `property` alike.
template <typename Property, typename Use> void for_each_stretch(CharactersView text, Property property, Use use)
{
    for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end) {
        const bool has = property(text[begin]);
        while (end < text.size() && property(text[end]) == has)
            ++end;
        use(text.substr(begin, end - begin), has);
    }
}

/// Length of [a-zA-Z0-9]+(?:\.\d+)?%? at the beginning of `text`.
std::size_t length_of_number(CharactersView text)
{
    const auto skip = [text](std::size_t at, auto property) {
        while (at < text.size() && property(text[at]))
            ++at;
        return at;
    };
    std::size_t end = skip(0, is_ascii_letter_or_digit);
    if (end == 0)
        return 0;
    if (end < text.size() && text[end] == '.') {
        const std::size_t fraction = skip(end + 1, is_digit);
        end = fraction > end + 1 ? fraction : end;
    }
    return end < text.size() && text[end] == '%' ? end + 1 : end;
}

/// What the model does not judge: numbers and Latin words, and whatever lies between them.
void cut_others(CharactersView text, std::vector<Characters>& words)
{
    std::size_t between = 0;
    while (between < text.size()) {
        const std::size_t number = length_of_number(text.substr(between));
        if (number == 0) {
            ++between;
            continue;
        }
        if (between > 0)
            words.emplace_back(text.substr(0, between));
        words.emplace_back(text.substr(between, number));
        text.remove_prefix(between + number);
        between = 0;
    }
    if (!text.empty())
        words.emplace_back(text);
}

/// Singly, but for "\r\n".
void cut_separators(CharactersView text, std::vector<Characters>& words)
{
    for (std::size_t i = 0; i < text.size(); i += words.back().size())
        words.emplace_back(text.substr(i, text.substr(i, 2) == U"\r\n" ? 2 : 1));
}

std::string read_file(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    if (!stream)
        throw Error(file.string() + ": cannot be read; expected it in the folder of the Python package jieba");
    return {std::istreambuf_iterator<char>(stream), {}};
}

template <typename Number> bool parse(std::string_view text, Number& number)
{
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    return failure == std::errc() && end == text.data() + text.size();
}

} // namespace

ChineseWords::ChineseWords(const std::filesystem::path& folder)
{
    read_dictionary(folder / "dict.txt");
    read_emissions(folder / "finalseg" / "prob_emit.py");
}

/// Lines "WORD FREQUENCY [TAG]".
void ChineseWords::read_dictionary(const std::filesystem::path& file)
{
    const std::string text = read_file(file);
    nodes_.reserve(text.size() / 8);
    std::int64_t total = 0;
    std::size_t number = 1;
    for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1, ++number) {
        end = std::min(text.find('\n', begin), text.size());
        const std::string_view line = std::string_view(text).substr(begin, end - begin);
        const std::size_t blank = line.find(' ');
        const std::string_view rest = blank == line.npos ? "" : line.substr(blank + 1);
        std::int64_t count = 0;
        if (blank == 0 || !parse(rest.substr(0, rest.find_first_of(" \r")), count) || count < 0)
            throw Error(formatted("{}: line {} is not a word and its frequency", file.string(), number));
        std::int64_t node = 0;
        for (const char32_t c : characters_of(line.substr(0, blank))) {
            const auto [at, added]
                = nodes_.try_emplace(static_cast<std::uint64_t>(node) << 32 | c, frequencies_.size());
            if (added)
                frequencies_.push_back(0);
            node = at->second;
        }
        frequencies_[static_cast<std::size_t>(node)] = count;
        total += count;
    }
    if (total == 0)
        throw Error(file.string() + " holds no words");
    log_total_ = std::log(static_cast<double>(total));
}

/// A Python literal of four dictionaries: {'B': {'\u4e00': -3.65, ...}, 'E': ...}
void ChineseWords::read_emissions(const std::filesystem::path& file)
{
    const std::string text = read_file(file);
    std::size_t state = num_states;
    for (std::size_t at = text.find('\''); at != text.npos; at = text.find('\'', at)) {
        const std::size_t close = std::min(text.find('\'', at + 1), text.size());
        const std::string_view key = std::string_view(text).substr(at + 1, close - at - 1);
        const std::size_t begin = std::min(text.find_first_not_of(": ", close + 1), text.size());
        at = std::min(text.find_first_of(",}'", begin), text.size());
        std::uint32_t code = 0;
        double value = 0;
        if (key.size() == 1 && letters.find(key[0]) != letters.npos)
            state = letters.find(key[0]);
        else if (key.starts_with("\\u") && state < num_states
            && std::from_chars(key.data() + 2, key.data() + key.size(), code, 16).ptr == key.data() + key.size()
            && parse(std::string_view(text).substr(begin, at - begin), value))
            emissions_[state][code] = value;
        else
            throw Error(file.string() + ": '" + std::string(key.substr(0, 20))
                + "' is not a character with its probability, as in the Python package jieba 0.42.1");
    }
    for (std::size_t i = 0; i < num_states; ++i) {
        if (emissions_[i].empty())
            throw Error(
                file.string() + " says nothing of state " + letters[i] + ", unlike the Python package jieba 0.42.1");
    }
}

std::int64_t ChineseWords::next(std::int64_t node, char32_t character) const
{
    const auto found = nodes_.find(static_cast<std::uint64_t>(node) << 32 | character);
    return found == nodes_.end() ? -1 : found->second;
}

std::int64_t ChineseWords::frequency(CharactersView word) const
{
    std::int64_t node = 0;
    for (std::size_t i = 0; i < word.size() && node >= 0; ++i)
        node = next(node, word[i]);
    return node < 0 ? 0 : frequencies_[static_cast<std::size_t>(node)];
}

/// Where the word ends that begins at each place, if one does.
std::vector<std::size_t> ChineseWords::likeliest_ends(CharactersView block) const
{
    const std::size_t size = block.size();
    std::vector<std::size_t> likeliest(size);
    std::vector<double> route(size + 1);
    for (std::size_t i = size; i-- > 0;) {
        bool found = false;
        const auto consider = [&](std::size_t end, std::int64_t count) {
            const double value
                = std::log(static_cast<double>(std::max<std::int64_t>(count, 1))) - log_total_ + route[end];
            if (!found || value >= route[i]) { // the longer one among equally likely words
                route[i] = value;
                likeliest[i] = end;
            }
            found = true;
        };
        std::int64_t node = 0;
        for (std::size_t end = i; end < size; ++end) {
            node = next(node, block[end]);
            if (node < 0)
                break;
            if (const std::int64_t count = frequencies_[static_cast<std::size_t>(node)]; count > 0)
                consider(end + 1, count);
        }
        if (!found)
            consider(i + 1, 0);
    }
    return likeliest;
}

void ChineseWords::cut_block(CharactersView block, std::vector<Characters>& words) const
{
    const std::vector<std::size_t> end_of = likeliest_ends(block);
    std::size_t unknown = 0; // where the stretch of single characters begins
    for (std::size_t at = 0; at < block.size(); at = end_of[at]) {
        if (end_of[at] - at == 1)
            continue;
        cut_unknown(block.substr(unknown, at - unknown), words);
        words.emplace_back(block.substr(at, end_of[at] - at));
        unknown = end_of[at];
    }
    cut_unknown(block.substr(unknown), words);
}

void ChineseWords::cut_unknown(CharactersView characters, std::vector<Characters>& words) const
{
    if (characters.size() == 1 || frequency(characters) > 0) {
        for (const char32_t c : characters)
            words.emplace_back(1, c);
        return;
    }
    for_each_stretch(characters, is_han, [&](CharactersView stretch, bool han) {
        if (han)
            cut_by_model(stretch, words);
        else
            cut_others(stretch, words);
    });
}

/// Viterbi's likeliest states, and the words that they make.
void ChineseWords::cut_by_model(CharactersView characters, std::vector<Characters>& words) const
{
    const auto emission = [&](std::size_t state, char32_t c) {
        const auto found = emissions_[state].find(c);
        return found == emissions_[state].end() ? never : found->second;
    };
    std::array<double, num_states> likelihood{};
    for (std::size_t state = 0; state < num_states; ++state)
        likelihood[state] = start[state] + emission(state, characters[0]);
    std::vector<std::array<State, num_states>> from(characters.size());
    for (std::size_t t = 1; t < characters.size(); ++t) {
        std::array<double, num_states> next_likelihood{};
        for (std::size_t state = 0; state < num_states; ++state) {
            const double emitted = emission(state, characters[t]);
            const auto by = [&](State other) { return likelihood[other] + transition[other][state] + emitted; };
            const auto [one, two] = std::pair(before[state][0], before[state][1]);
            from[t][state] = by(two) >= by(one) ? two : one;
            next_likelihood[state] = by(from[t][state]);
        }
        likelihood = next_likelihood;
    }
    std::vector<std::size_t> states(characters.size());
    states.back() = likelihood[single] >= likelihood[ends] ? single : ends;
    for (std::size_t t = characters.size() - 1; t > 0; --t)
        states[t - 1] = from[t][states[t]];
    std::size_t begin = 0;
    for (std::size_t t = 0; t < characters.size(); ++t) {
        if (states[t] == begins)
            begin = t;
        else if (states[t] == ends)
            words.emplace_back(characters.substr(begin, t + 1 - begin));
        else if (states[t] == single)
            words.emplace_back(1, characters[t]);
    }
}

std::vector<Characters> ChineseWords::cut(CharactersView text) const
{
    std::vector<Characters> words;
    for_each_stretch(text, is_looked_up, [&](CharactersView stretch, bool looked_up) {
        if (looked_up)
            cut_block(stretch, words);
        else
            cut_separators(stretch, words);
    });
    return words;
}

} // namespace lava
