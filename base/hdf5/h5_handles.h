#pragma once

// What h5.cpp and h5_attributes.cpp share. The one header that includes <hdf5.h>.

#include "base/hdf5/h5.h"

#include <hdf5.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace lava::h5 {

/// Held during every call into HDF5: Debian's build of the library is not thread safe.
[[nodiscard]] std::unique_lock<std::recursive_mutex> lock_library();

/// An HDF5 identifier with its close function. Invalid where the call that made it failed.
class Handle
{
public:
    Handle() = default;
    Handle(hid_t id, herr_t (*close)(hid_t))
        : id_(id)
        , close_(close)
    { }
    Handle(Handle&& other) noexcept
        : id_(std::exchange(other.id_, -1))
        , close_(other.close_)
    { }
    Handle& operator=(Handle&& other) noexcept
    {
        std::swap(id_, other.id_);
        std::swap(close_, other.close_);
        return *this;
    }
    ~Handle()
    {
        if (id_ >= 0) {
            const auto guard = lock_library();
            close_(id_);
        }
    }

    bool valid() const { return id_ >= 0; }
    operator hid_t() const { return id_; }

private:
    hid_t id_ = -1;
    herr_t (*close_)(hid_t) = nullptr;
};

struct Group::State
{
    std::shared_ptr<Handle> file_handle; // keeps the file open as long as any of its groups is
    Handle group;
    std::string file;
    std::string path;
};

/// The innermost reason on HDF5's error stack, with the operating system's own words where there are some.
std::string last_reason();

/// Why `name` could not be opened: missing, a link whose target is not there, or of another kind than `wanted`.
std::string why_not_opened(hid_t group, const std::string& file, std::string_view name, std::string_view wanted);

Handle make_type(Type type);
std::string describe_type(hid_t type); ///< "signed integers of 16 bits"
/// What a type that is none of ours should have been: the byte order is blamed only where it is wrong.
std::string wanted_type(hid_t type);

/// Throws Error where a part of the path `name` is a link other than that of a layer's weights.
void refuse_links(const Group& group, hid_t id, std::string_view name, bool weights_may);

/// What HDF5 means by a reason that need not be damage; empty for others.
std::string in_plain_words(const std::string& reason);

/// zlib's CRC-32 of what came before and of `size` more bytes.
std::uint32_t digest_more(std::uint32_t so_far, const void* bytes, std::size_t size);
/// Notes a digest as the dataset's attribute `name`.
void write_digest(const Group& group, hid_t dataset, const std::string& name, std::uint32_t value);
/// Throws Error where the dataset has a digest of its values that is not that of `data`.
void check_digest(const Group& group, hid_t dataset, std::string_view name, const void* data, std::size_t size);
/// Throws Error where an attribute's text does not match the digest that lies beside it.
void check_digest(
    const Group& group, hid_t dataset, std::string_view name, std::string_view attribute, const std::string& text);

inline constexpr const char* values_digest = "crc32"; ///< the attribute of a dataset's values
inline constexpr const char* text_digest = "_crc32"; ///< what follows the name of a dataset's text attribute
/// Throws Error where the group, whose identifier is `id`, lacks what seal() noted or has it otherwise.
void check_digests(const Group& group, hid_t id);

} // namespace lava::h5
