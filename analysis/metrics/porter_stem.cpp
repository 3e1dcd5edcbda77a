#include "analysis/metrics/porter_stem.h"

#include <algorithm>
#include <map>
#include <span>
#include <string_view>
#include <vector>

namespace lava {

namespace {

/// A y after a consonant is a vowel, any other a consonant.
std::vector<bool> consonants_of(std::string_view word)
{
    std::vector<bool> consonants;
    for (const char c : word) {
        const bool is_vowel = std::string_view("aeiou").find(c) != std::string_view::npos;
        consonants.push_back(c == 'y' ? consonants.empty() || !consonants.back() : !is_vowel);
    }
    return consonants;
}

/// Porter's m: how often a vowel is followed by a consonant.
int measure(std::string_view stem)
{
    const std::vector<bool> consonants = consonants_of(stem);
    int count = 0;
    for (std::size_t i = 1; i < consonants.size(); ++i)
        count += !consonants[i - 1] && consonants[i] ? 1 : 0;
    return count;
}

bool has_measure(std::string_view stem)
{
    return measure(stem) > 0;
}

bool has_long_measure(std::string_view stem)
{
    return measure(stem) > 1;
}

bool has_vowel(std::string_view stem)
{
    const std::vector<bool> consonants = consonants_of(stem);
    return std::find(consonants.begin(), consonants.end(), false) != consonants.end();
}

bool ends_in_double_consonant(std::string_view word)
{
    return word.size() >= 2 && word.back() == word[word.size() - 2] && consonants_of(word).back();
}

/// Consonant, vowel, consonant other than w, x and y; of two letters vowel and consonant.
bool ends_short(std::string_view word)
{
    const std::vector<bool> consonants = consonants_of(word);
    const std::size_t size = word.size();
    if (size == 2)
        return !consonants[0] && consonants[1];
    return size >= 3 && consonants[size - 3] && !consonants[size - 2] && consonants[size - 1]
        && std::string_view("wxy").find(word.back()) == std::string_view::npos;
}

std::string_view without(std::string_view word, std::size_t letters)
{
    return word.substr(0, word.size() - letters);
}

struct Rule
{
    std::string_view suffix;
    std::string_view replacement;
    bool (*applies)(std::string_view stem) = nullptr; ///< none: always
};

/// The first rule whose suffix the word has decides, whether it applies or not.
std::string by_rules(const std::string& word, std::span<const Rule> rules)
{
    for (const Rule& rule : rules) {
        if (!word.ends_with(rule.suffix))
            continue;
        const std::string_view stem = without(word, rule.suffix.size());
        return !rule.applies || rule.applies(stem) ? std::string(stem).append(rule.replacement) : word;
    }
    return word;
}

std::string without_plural(const std::string& word)
{
    constexpr Rule rules[] = {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}};
    if (word.size() == 4 && word.ends_with("ies"))
        return std::string(without(word, 1));
    return by_rules(word, rules);
}

/// After -ed or -ing has been taken off.
std::string completed(const std::string& stem)
{
    constexpr Rule rules[] = {{"at", "ate"}, {"bl", "ble"}, {"iz", "ize"}};
    for (const Rule& rule : rules) {
        if (stem.ends_with(rule.suffix))
            return by_rules(stem, rules);
    }
    if (ends_in_double_consonant(stem))
        return std::string_view("lsz").find(stem.back()) == std::string_view::npos ? std::string(without(stem, 1))
                                                                                   : stem;
    return measure(stem) == 1 && ends_short(stem) ? stem + "e" : stem;
}

std::string without_participle(const std::string& word)
{
    if (word.ends_with("ied"))
        return std::string(without(word, word.size() == 4 ? 1 : 2));
    if (word.ends_with("eed"))
        return has_measure(without(word, 3)) ? std::string(without(word, 1)) : word;
    for (const std::string_view suffix : {"ed", "ing"}) {
        if (word.ends_with(suffix) && has_vowel(without(word, suffix.size())))
            return completed(std::string(without(word, suffix.size())));
    }
    return word;
}

std::string with_final_i(const std::string& word)
{
    constexpr Rule rules[]
        = {{"y", "i", [](std::string_view stem) { return stem.size() > 1 && consonants_of(stem).back(); }}};
    return by_rules(word, rules);
}

std::string with_single_suffix(const std::string& word)
{
    constexpr Rule rules[]
        = {{"ational", "ate", has_measure}, {"tional", "tion", has_measure}, {"enci", "ence", has_measure},
            {"anci", "ance", has_measure}, {"izer", "ize", has_measure}, {"bli", "ble", has_measure},
            {"alli", "al", has_measure}, {"entli", "ent", has_measure}, {"eli", "e", has_measure},
            {"ousli", "ous", has_measure}, {"ization", "ize", has_measure}, {"ation", "ate", has_measure},
            {"ator", "ate", has_measure}, {"alism", "al", has_measure}, {"iveness", "ive", has_measure},
            {"fulness", "ful", has_measure}, {"ousness", "ous", has_measure}, {"aliti", "al", has_measure},
            {"iviti", "ive", has_measure}, {"biliti", "ble", has_measure}, {"fulli", "ful", has_measure},
            {"logi", "log", [](std::string_view stem) { return has_measure(std::string(stem) + "l"); }}};
    if (word.ends_with("alli") && has_measure(without(word, 4)))
        return with_single_suffix(std::string(without(word, 2)));
    return by_rules(word, rules);
}

std::string without_ending(const std::string& word)
{
    constexpr Rule rules[] = {{"icate", "ic", has_measure}, {"ative", "", has_measure}, {"alize", "al", has_measure},
        {"iciti", "ic", has_measure}, {"ical", "ic", has_measure}, {"ful", "", has_measure}, {"ness", "", has_measure}};
    return by_rules(word, rules);
}

std::string without_last_suffix(const std::string& word)
{
    constexpr auto after_s_or_t
        = [](std::string_view stem) { return has_long_measure(stem) && (stem.back() == 's' || stem.back() == 't'); };
    constexpr Rule rules[] = {{"al", "", has_long_measure}, {"ance", "", has_long_measure},
        {"ence", "", has_long_measure}, {"er", "", has_long_measure}, {"ic", "", has_long_measure},
        {"able", "", has_long_measure}, {"ible", "", has_long_measure}, {"ant", "", has_long_measure},
        {"ement", "", has_long_measure}, {"ment", "", has_long_measure}, {"ent", "", has_long_measure},
        {"ion", "", after_s_or_t}, {"ou", "", has_long_measure}, {"ism", "", has_long_measure},
        {"ate", "", has_long_measure}, {"iti", "", has_long_measure}, {"ous", "", has_long_measure},
        {"ive", "", has_long_measure}, {"ize", "", has_long_measure}};
    return by_rules(word, rules);
}

std::string without_final_e(const std::string& word)
{
    if (!word.ends_with("e"))
        return word;
    const std::string_view stem = without(word, 1);
    const int length = measure(stem);
    return length > 1 || (length == 1 && !ends_short(stem)) ? std::string(stem) : word;
}

std::string without_double_l(const std::string& word)
{
    return word.ends_with("ll") && has_long_measure(without(word, 1)) ? std::string(without(word, 1)) : word;
}

} // namespace

std::string porter_stem(std::string word)
{
    static const std::map<std::string_view, std::string_view> irregular = {{"sky", "sky"}, {"skies", "sky"},
        {"dying", "die"}, {"lying", "lie"}, {"tying", "tie"}, {"news", "news"}, {"innings", "inning"},
        {"inning", "inning"}, {"outings", "outing"}, {"outing", "outing"}, {"cannings", "canning"},
        {"canning", "canning"}, {"howe", "howe"}, {"proceed", "proceed"}, {"exceed", "exceed"}, {"succeed", "succeed"}};
    if (const auto found = irregular.find(word); found != irregular.end())
        return std::string(found->second);
    if (word.size() <= 2)
        return word;
    for (const auto step : {without_plural, without_participle, with_final_i, with_single_suffix, without_ending,
             without_last_suffix, without_final_e, without_double_l})
        word = step(word);
    return word;
}

} // namespace lava
