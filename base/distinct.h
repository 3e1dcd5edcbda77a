#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace lava {

/// Values of which some are alike, each once, in order of appearance.
template <typename Value> class Distinct
{
public:
    /// Place among values() of an equal one, which is the last where there was none before.
    std::size_t add(const Value& value)
    {
        const auto [found, is_new] = known_.try_emplace(value, values_.size());
        if (is_new) {
            values_.push_back(value);
        }
        return found->second;
    }

    const std::vector<Value>& values() const { return values_; }

private:
    std::vector<Value> values_;
    std::map<Value, std::size_t> known_;
};

} // namespace lava
