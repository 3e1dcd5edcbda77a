#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace lava {

/// The text of a file, unpacked where gzip packed it, in one piece or line by line.
class UnpackedFile
{
public:
    /// Throws Error naming the file where it is a folder or cannot be opened.
    explicit UnpackedFile(std::filesystem::path file);
    ~UnpackedFile();

    /// What stands before the next line feed, or before the end; none at the end. Throws Error naming the file where it
    /// cannot be read, or gzip's data in it are damaged or end early.
    std::optional<std::string> next_line();

    /// All that was not read yet. Throws as next_line.
    std::string rest();

private:
    struct Stream;
    void read();

    std::filesystem::path file_;
    std::unique_ptr<Stream> stream_;
    std::string buffer_;
    std::size_t at_ = 0; // the first byte of the buffer that was not handed out
    bool ended_ = false;
};

} // namespace lava
