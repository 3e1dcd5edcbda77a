#pragma once

#include <filesystem>
#include <span>
#include <string_view>

namespace lava {

/// A file that appears whole or not at all: write to part(), then commit() renames it over the target. Destroyed
/// uncommitted, or on SIGINT, SIGTERM and SIGHUP, the part is removed. Throws Error where the folder is missing or not
/// writable.
class OutputFile
{
public:
    explicit OutputFile(std::filesystem::path target);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    const std::filesystem::path& part() const { return part_; }
    const std::filesystem::path& target() const { return target_; }
    /// Asks the system to begin writing to the disk what the part holds, so that little is left for commit() to wait
    /// for.
    void begin_writing() const;
    void commit();

private:
    std::filesystem::path target_;
    std::filesystem::path part_;
    int slot_ = -1; ///< where the signal handler finds the part's name
    bool committed_ = false;
};

/// Throws UsageError where `output` is one of the files that are read, or where another output goes. Empty paths and
/// devices are passed over.
void refuse_same_file(const std::filesystem::path& output, std::span<const std::filesystem::path> others);

/// Writes `text` to `file` by way of an OutputFile.
void write_text_file(const std::filesystem::path& file, std::string_view text);

} // namespace lava
