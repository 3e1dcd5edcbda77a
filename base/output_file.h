#pragma once

#include <filesystem>
#include <string_view>

namespace lava {

/// A file that appears whole or not at all: write to part(), a new file of its own beside the target, then commit()
/// renames it over the target; a symbolic link is followed. Destroyed uncommitted, or on SIGINT, SIGTERM and SIGHUP,
/// the part is removed; what a process that was killed otherwise left of the same target goes when the next one is
/// constructed. Throws Error where the folder is missing or not writable.
class OutputFile
{
public:
    explicit OutputFile(std::filesystem::path target);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    /// ".NAME.PROCESS-KERNEL-RANDOM.part": no other process has it.
    const std::filesystem::path& part() const { return part_; }
    const std::filesystem::path& target() const { return target_; }
    /// The part becomes `text`.
    void write(std::string_view text) const;
    /// Asks the system to begin writing to the disk what the part holds, so that little is left for commit() to wait
    /// for.
    void begin_writing() const;
    void commit();
    /// commit() unless the target is there by now: then false, and the target stays as it is.
    bool commit_if_absent();

private:
    void sync() const;
    void forget_part();

    std::filesystem::path target_;
    std::filesystem::path real_; ///< the target, symbolic links followed
    std::filesystem::path part_;
    int slot_ = -1; ///< where the signal handler finds the part's name
    bool committed_ = false;
};

/// The absolute path that a file to be written would have, symbolic links followed, even one whose target is missing.
std::filesystem::path real_path(const std::filesystem::path& file);

/// Writes `text` to `file` by way of an OutputFile; to a device or a pipe, as it is.
void write_text_file(const std::filesystem::path& file, std::string_view text);

bool is_device_or_pipe(const std::filesystem::path& file);

} // namespace lava
