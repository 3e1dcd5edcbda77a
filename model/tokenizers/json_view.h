#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava {

/// A value inside a JSON file, with the way to it, so that every refusal can name file and key. Views do not own: the
/// document must outlive them.
class JsonView
{
public:
    using Json = nlohmann::json;

    JsonView(const Json& value, std::string file, std::string path = {});

    const Json& value() const { return *value_; }
    const std::string& file() const { return file_; }
    const std::string& path() const { return path_; }

    /// The member `key`; nothing where it is absent or null. Throws Error where this is not an object.
    std::optional<JsonView> find(const std::string& key) const;
    /// Throws Error where it is absent or null.
    JsonView at(const std::string& key) const;
    /// Elements of an array, members of an object with their keys. Throws Error for anything else.
    std::vector<JsonView> elements() const;
    std::vector<std::pair<std::string, JsonView>> members() const;

    std::string string() const;
    bool boolean() const;
    /// A token id; at most 2^24, since ids index tables: one absurd id must not allocate all memory.
    std::int64_t token_id() const;
    std::int64_t integer() const;

    std::string string(const std::string& key) const { return at(key).string(); }
    bool boolean(const std::string& key, bool otherwise) const;

    /// The member "type", empty where it is absent.
    std::string type() const;
    /// Throws Error where this object has a member that is not listed: what is not known must not be skipped.
    void require_known(std::initializer_list<std::string_view> keys) const;

    /// Throws Error where a sequence stands in more than 50 others: reading them must not exhaust the stack.
    void require_depth(int depth) const;

    [[noreturn]] void refuse(const std::string& expected) const;

private:
    const Json* value_;
    std::string file_;
    std::string path_;
};

/// Parses a JSON file. Throws Error naming it where it cannot be read or is not JSON.
nlohmann::json read_json(const std::filesystem::path& file);

} // namespace lava
