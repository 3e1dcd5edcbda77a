#pragma once

#include "analysis/metrics/characters.h"

#include <cstddef>
#include <unordered_map>
#include <vector>

namespace lava {

/// Tokens as numbers, equal where the tokens are.
class TokenNumbers
{
public:
    std::size_t of(const Characters& token) { return numbers_.emplace(token, numbers_.size()).first->second; }
    std::vector<std::size_t> of(const std::vector<Characters>& tokens)
    {
        std::vector<std::size_t> numbers;
        for (const Characters& token : tokens)
            numbers.push_back(of(token));
        return numbers;
    }
    std::size_t size() const { return numbers_.size(); }

private:
    std::unordered_map<Characters, std::size_t> numbers_;
};

} // namespace lava
