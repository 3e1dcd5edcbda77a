#pragma once

// What h5.cpp and h5_attributes.cpp share. The one header that includes <hdf5.h>.

#include "traces/h5.h"

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

} // namespace lava::h5
