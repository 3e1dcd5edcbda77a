#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// One record of a benchmark's file, with its place for messages.
class Record
{
public:
    Record(nlohmann::json json, const std::filesystem::path& file, std::size_t line);

    const std::string& where() const { return where_; } ///< "FILE: line 3"
    std::string file_name() const { return file_.filename().string(); }
    const std::filesystem::path& file() const { return file_; }
    std::size_t line() const { return line_; }
    bool has(const std::string& key) const { return json_.contains(key); }
    const nlohmann::json& value(const std::string& key) const; ///< throws Error where it is absent
    std::string text(const std::string& key) const;
    /// The strings of a list; throws Error where there is none.
    std::vector<std::string> texts(const std::string& key) const;

    [[noreturn]] void refuse(const std::string& expected_and_found) const;

private:
    nlohmann::json json_;
    std::filesystem::path file_;
    std::size_t line_;
    std::string where_;
};

/// A JSON object a line; the file may be gzip's. Throws Error naming file and line of what is no JSON object, and the
/// file where it has none.
std::vector<Record> read_records(const std::filesystem::path& file);

/// Whole content of a file, unpacked where gzip packed it. Throws Error naming it where it cannot be read, is empty or
/// is not UTF-8.
std::string read_unpacked(const std::filesystem::path& file);

/// `text` for a message: quoted, cut to a readable length.
std::string shown(std::string_view text);

} // namespace lava
