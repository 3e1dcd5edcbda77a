#include "base/unpacked_file.h"

#include "base/error.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>

namespace lava {

struct UnpackedFile::Stream
{
    explicit Stream(const std::filesystem::path& file)
        : handle(gzopen(file.c_str(), "rb"))
    { }
    ~Stream()
    {
        if (handle)
            gzclose(handle);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    gzFile handle;
};

UnpackedFile::UnpackedFile(std::filesystem::path file)
    : file_(std::move(file))
{
    if (std::filesystem::is_directory(file_))
        throw Error(file_.string() + ": expected a file, found a folder");
    stream_ = std::make_unique<Stream>(file_);
    if (!stream_->handle)
        throw Error(file_.string() + ": cannot be opened: " + std::strerror(errno));
}

UnpackedFile::~UnpackedFile() = default;

std::optional<std::string> UnpackedFile::next_line()
{
    std::size_t searched = 0; // bytes behind at_ that have no line feed
    for (;;) {
        const std::size_t end = buffer_.find('\n', at_ + searched);
        if (end != std::string::npos || ended_) {
            if (at_ == buffer_.size())
                return std::nullopt;
            std::string line = buffer_.substr(at_, end == std::string::npos ? end : end - at_);
            at_ = end == std::string::npos ? buffer_.size() : end + 1;
            return line;
        }
        searched = buffer_.size() - at_;
        read();
    }
}

std::string UnpackedFile::rest()
{
    while (!ended_)
        read();
    std::string text = std::move(buffer_);
    text.erase(0, at_);
    buffer_.clear();
    at_ = 0;
    return text;
}

void UnpackedFile::read()
{
    constexpr unsigned size = 1 << 16;
    buffer_.erase(0, at_);
    at_ = 0;
    const std::size_t before = buffer_.size();
    buffer_.resize(before + size);
    const int count = gzread(stream_->handle, buffer_.data() + before, size);
    int failure = Z_OK;
    const std::string reason = gzerror(stream_->handle, &failure);
    if (failure == Z_BUF_ERROR) // gzread hands out what a file that ends early has
        throw Error(file_.string() + ": cannot be read: the gzipped file ends early");
    if (failure == Z_DATA_ERROR)
        throw Error(file_.string() + ": cannot be read: the gzipped file is damaged");
    if (count < 0)
        throw Error(file_.string() + ": cannot be read: " + reason);
    buffer_.resize(before + static_cast<std::size_t>(count));
    ended_ = count == 0;
}

} // namespace lava
