#include "analysis/metrics/rouge.h"

#include "analysis/metrics/common_subsequence.h"
#include "analysis/metrics/porter_stem.h"
#include "analysis/metrics/token_numbers.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace lava {

namespace {

using Sentence = std::vector<std::size_t>; // numbers of its tokens

// ------------------------------------------------------------------------------------------------- the package rouge

/// Calls of itself that the package's walk can make within Python's 1000 frames when LongBench's eval.py calls it.
constexpr std::size_t most_calls = 991;

/// What lies between full stops, white space collapsed. One that is all white space counts as one empty word.
std::vector<Sentence> sentences_of(CharactersView text, TokenNumbers& numbers)
{
    std::vector<Sentence> sentences;
    for (const CharactersView part : split(text, U'.')) {
        if (part.empty())
            continue;
        std::vector<Characters> words = words_of(part);
        if (words.empty())
            words.emplace_back();
        sentences.push_back(numbers.of(words));
    }
    return sentences;
}

std::size_t different_words(const std::vector<Sentence>& sentences)
{
    std::set<std::size_t> words;
    for (const Sentence& sentence : sentences)
        words.insert(sentence.begin(), sentence.end());
    return words.size();
}

// ------------------------------------------------------------------------------------------- the package rouge_score

bool is_ascii_alphanumeric(char32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

std::vector<Characters> alphanumeric_words(CharactersView text, bool stems)
{
    Characters blank = lower(text);
    std::ranges::replace_if(blank, std::not_fn(is_ascii_alphanumeric), U' ');
    std::vector<Characters> words = words_of(blank);
    for (Characters& word : words) {
        if (stems && word.size() > 3) {
            const std::string stem = porter_stem(std::string(word.begin(), word.end()));
            word.assign(stem.begin(), stem.end());
        }
    }
    std::erase(words, Characters());
    return words;
}

double f_measure(double hits, std::size_t predicted, std::size_t true_words)
{
    const double precision = hits / static_cast<double>(predicted);
    const double recall = hits / static_cast<double>(true_words);
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

std::vector<Sentence> lines_of(CharactersView text, TokenNumbers& numbers)
{
    std::vector<Sentence> lines;
    for (const CharactersView line : split(text, U'\n'))
        lines.push_back(numbers.of(alphanumeric_words(line, false)));
    return lines;
}

std::map<std::size_t, std::int64_t> counts_of(const std::vector<Sentence>& sentences)
{
    std::map<std::size_t, std::int64_t> counts;
    for (const Sentence& sentence : sentences) {
        for (const std::size_t word : sentence)
            ++counts[word];
    }
    return counts;
}

std::size_t size_of(const std::vector<Sentence>& sentences)
{
    std::size_t size = 0;
    for (const Sentence& sentence : sentences)
        size += sentence.size();
    return size;
}

} // namespace

double rouge_l(CharactersView prediction, CharactersView truth)
{
    TokenNumbers numbers;
    const std::vector<Sentence> predicted = sentences_of(prediction, numbers);
    const std::vector<Sentence> expected = sentences_of(truth, numbers);
    if (predicted.empty() || expected.empty())
        return 0;
    std::set<std::size_t> common;
    for (const Sentence& sentence : expected) {
        for (const Sentence& other : predicted) {
            if (std::min(sentence.size(), other.size()) >= most_calls)
                return 0;
            const CommonWalk walk = walk_common_subsequence(sentence, other, false);
            if (walk.steps + 1 > most_calls)
                return 0;
            for (const std::size_t place : walk.places)
                common.insert(sentence[place]);
        }
    }
    const auto hits = static_cast<double>(common.size());
    const double precision = hits / static_cast<double>(different_words(predicted));
    const double recall = hits / static_cast<double>(different_words(expected));
    return 2.0 * (precision * recall / (precision + recall + 1e-8));
}

double rouge_1_of_stems(CharactersView prediction, CharactersView truth)
{
    TokenNumbers numbers;
    const std::vector<Sentence> predicted = {numbers.of(alphanumeric_words(prediction, true))};
    const std::vector<Sentence> expected = {numbers.of(alphanumeric_words(truth, true))};
    if (predicted[0].empty() || expected[0].empty())
        return 0;
    std::map<std::size_t, std::int64_t> counts = counts_of(predicted);
    std::int64_t hits = 0;
    for (const auto& [word, count] : counts_of(expected))
        hits += std::min(count, counts[word]);
    return f_measure(static_cast<double>(hits), predicted[0].size(), expected[0].size());
}

double rouge_l_of_lines(CharactersView prediction, CharactersView truth)
{
    TokenNumbers numbers;
    const std::vector<Sentence> predicted = lines_of(prediction, numbers);
    const std::vector<Sentence> expected = lines_of(truth, numbers);
    if (size_of(predicted) == 0 || size_of(expected) == 0)
        return 0;
    std::map<std::size_t, std::int64_t> left_of_predicted = counts_of(predicted);
    std::map<std::size_t, std::int64_t> left_of_expected = counts_of(expected);
    std::int64_t hits = 0;
    for (const Sentence& line : expected) {
        std::set<std::size_t> places;
        for (const Sentence& other : predicted) {
            const std::vector<std::size_t> found = walk_common_subsequence(line, other, true).places;
            places.insert(found.begin(), found.end());
        }
        for (const std::size_t place : places) {
            const std::size_t word = line[place];
            if (left_of_predicted[word] > 0 && left_of_expected[word] > 0) {
                ++hits;
                --left_of_predicted[word];
                --left_of_expected[word];
            }
        }
    }
    return f_measure(static_cast<double>(hits), size_of(predicted), size_of(expected));
}

} // namespace lava
