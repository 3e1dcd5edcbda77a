#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// config.json of a Hugging Face folder, or an object inside it. Every value is checked when it is asked for; what is
/// wrong is an Error naming file and key. The JSON must outlive it.
class ConfigSection
{
public:
    ConfigSection(std::string file, const nlohmann::json& values, std::string prefix = "");

    [[noreturn]] void fail(std::string_view key, const std::string& message) const;

    const nlohmann::json& values() const { return values_; }
    /// "rope_scaling.factor"
    std::string name_of(std::string_view key) const { return prefix_ + std::string(key); }
    /// Whether the key is not there at all, not even as null.
    bool lacks(std::string_view key) const;
    /// Null where the key is absent or null.
    const nlohmann::json* find(std::string_view key) const;
    const nlohmann::json& require(std::string_view key) const;

    std::int64_t size(std::string_view key) const; ///< positive, far from an overflow
    std::int64_t count(std::string_view key) const; ///< not negative, far from an overflow
    double positive(std::string_view key) const;
    bool boolean(std::string_view key) const;
    std::string text(std::string_view key) const;
    std::vector<double> positive_list(std::string_view key) const;

    std::int64_t size_or(std::string_view key, std::int64_t absent) const { return find(key) ? size(key) : absent; }
    double positive_or(std::string_view key, double absent) const { return find(key) ? positive(key) : absent; }
    bool boolean_or(std::string_view key, bool absent) const { return find(key) ? boolean(key) : absent; }

    /// A setting that this decoder has one value for; absent is that value too, since older files lack the key.
    void expect_if_given(std::string_view key, const nlohmann::json& expected) const;
    std::optional<ConfigSection> object(std::string_view key) const;

private:
    std::string file_;
    const nlohmann::json& values_;
    std::string prefix_;
};

} // namespace lava
