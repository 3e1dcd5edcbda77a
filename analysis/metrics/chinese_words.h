#pragma once

#include "analysis/metrics/characters.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <unordered_map>
#include <vector>

namespace lava {

/// Cuts Chinese text into words as jieba.cut(text, cut_all=False) of the PyPI package jieba 0.42.1 does: the likeliest
/// way through its dictionary, and for what the dictionary does not know its hidden Markov model of words' first,
/// middle and last characters.
class ChineseWords
{
public:
    /// `folder`: that package's, of which dict.txt and finalseg/prob_emit.py are read. Throws Error naming the file
    /// that is missing or not what it should be.
    explicit ChineseWords(const std::filesystem::path& folder);

    /// White space and punctuation are words too: nothing is lost.
    std::vector<Characters> cut(CharactersView text) const;

private:
    void read_dictionary(const std::filesystem::path& file);
    void read_emissions(const std::filesystem::path& file);
    /// The node that `character` leads to, -1 where no word goes on so.
    std::int64_t next(std::int64_t node, char32_t character) const;
    std::int64_t frequency(CharactersView word) const;
    std::vector<std::size_t> likeliest_ends(CharactersView block) const;
    void cut_block(CharactersView block, std::vector<Characters>& words) const;
    void cut_unknown(CharactersView characters, std::vector<Characters>& words) const;
    void cut_by_model(CharactersView characters, std::vector<Characters>& words) const;

    std::unordered_map<std::uint64_t, std::int64_t> nodes_; ///< of the dictionary's trie: (node, character) to node
    std::vector<std::int64_t> frequencies_ = {0}; ///< of each node; 0: the beginning of a word, not one itself
    double log_total_ = 0;
    std::array<std::unordered_map<char32_t, double>, 4> emissions_; ///< log probabilities, of each state
};

} // namespace lava
