#pragma once

// The only door to HDF5: RAII, and every failed call an Error that names file and dataset. The C library stays quiet.

#include "base/error.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava::h5 {

/// Number types that our files use. All little endian, IEEE.
enum class Type
{
    u8,
    u16,
    u32,
    i32,
    i64,
    f16,
    f32,
    f64,
    bf16 ///< the real type of HDF5 2.0; our own files hold uint16 with an attribute
};

template <typename T> struct TypeOf;
template <> struct TypeOf<std::uint8_t>
{
    static constexpr Type value = Type::u8;
};
template <> struct TypeOf<std::uint16_t>
{
    static constexpr Type value = Type::u16;
};
template <> struct TypeOf<std::uint32_t>
{
    static constexpr Type value = Type::u32;
};
template <> struct TypeOf<std::int32_t>
{
    static constexpr Type value = Type::i32;
};
template <> struct TypeOf<std::int64_t>
{
    static constexpr Type value = Type::i64;
};
template <> struct TypeOf<float>
{
    static constexpr Type value = Type::f32;
};
template <> struct TypeOf<double>
{
    static constexpr Type value = Type::f64;
};

struct DatasetInfo
{
    Type type;
    std::vector<std::int64_t> shape;
};

struct WriteOptions
{
    int deflate = 0; ///< 0: contiguous; 1-9: chunked, shuffled, deflated
    int threads = 1; ///< that deflate; the bytes do not depend on their number
};

/// A file's root or a group in it. Copies share the handle; the file closes with its last copy.
/// Not for use by several threads at once.
class Group
{
public:
    /// Throws Error where the file is missing, unreadable, truncated or not HDF5.
    static Group open_file(const std::filesystem::path& file);
    /// Replaces what is there. Messages name `shown`, what the file will be called, or `file` where that is empty.
    static Group create_file(const std::filesystem::path& file, const std::filesystem::path& shown = {});

    const std::string& file() const; ///< the file's path, for messages
    const std::string& path() const; ///< the group's path in the file: "/", "/layers/00"

    bool has(std::string_view name) const; ///< a group, a dataset or a link, wherever that leads
    std::vector<std::string> names() const; ///< children, sorted
    Group group(std::string_view name) const;
    Group create_group(std::string_view name) const;
    /// `name` here becomes `target_path` of `target_file` (relative to this file's folder).
    void link_external(std::string_view name, const std::string& target_file, const std::string& target_path) const;

    /// The file that an external link leads to, beside this one; empty where `name` is no such link.
    std::filesystem::path external_file(std::string_view name) const;

    bool has_attribute(std::string_view name) const;
    std::string string_attribute(std::string_view name) const;
    std::int64_t int_attribute(std::string_view name) const;
    double float_attribute(std::string_view name) const;
    void set_attribute(std::string_view name, std::string_view value) const;
    void set_attribute(std::string_view name, std::int64_t value) const;
    void set_attribute(std::string_view name, double value) const;

    DatasetInfo info(std::string_view name) const;
    /// Attribute of a dataset; empty where it has none.
    std::string dataset_attribute(std::string_view name, std::string_view attribute) const;
    void set_dataset_attribute(std::string_view name, std::string_view attribute, std::string_view value) const;

    /// The dataset's bytes as stored, without conversion; `size` must be what info() says. Throws Error where they do
    /// not match the digest that was written with them.
    void read_raw(std::string_view name, void* data, std::size_t size) const;
    void write_raw(std::string_view name, Type type, std::span<const std::int64_t> shape, const void* data,
        WriteOptions options = {}) const;

    /// Reads a dataset that must have exactly T's type and `shape` (-1 in it: any extent).
    template <typename T, typename Allocator = std::allocator<T>>
    std::vector<T, Allocator> read(std::string_view name, std::span<const std::int64_t> shape) const
    {
        std::vector<T, Allocator> values(checked_count(name, TypeOf<T>::value, shape));
        read_raw(name, values.data(), values.size() * sizeof(T));
        return values;
    }
    template <typename T> std::vector<T> read(std::string_view name, std::initializer_list<std::int64_t> shape) const
    {
        return read<T>(name, std::span<const std::int64_t>(shape.begin(), shape.size()));
    }
    /// Writes a dataset part by part: `done` is called with every index along the first dimension, in order, once its
    /// part is written.
    void write_raw(std::string_view name, Type type, std::span<const std::int64_t> shape, const void* data,
        WriteOptions options, const std::function<void(std::int64_t)>& done) const;
    template <typename T>
    void write(std::string_view name, std::span<const std::int64_t> shape, const std::vector<T>& values,
        WriteOptions options = {}) const
    {
        check_size(name, shape, values.size());
        write_raw(name, TypeOf<T>::value, shape, values.data(), options);
    }
    template <typename T>
    void write(std::string_view name, std::initializer_list<std::int64_t> shape, const std::vector<T>& values,
        WriteOptions options = {}) const
    {
        write(name, std::span<const std::int64_t>(shape.begin(), shape.size()), values, options);
    }

    /// Notes what this group and those in it hold, names and a digest of every attribute, which are compared when they
    /// are opened. Comes before the last flush().
    void seal() const;
    bool is_sealed() const; ///< has the digests that seal() leaves

    /// Throws Error where `name`, or a group on the way to it, is a link, be it to this file or another. Everything
    /// that is opened is checked so; only the last part of a path may be the link of a layer's weights to the same
    /// place in another file.
    void refuse_links(std::string_view name) const;

    void flush() const;

    /// Throws Error naming this file and `name`: "FILE: /layers/03/k: MESSAGE".
    [[noreturn]] void fail(std::string_view name, const std::string& message) const;

private:
    struct State;
    explicit Group(std::shared_ptr<State> state);
    std::size_t checked_count(std::string_view name, Type type, std::span<const std::int64_t> shape) const;
    void check_size(std::string_view name, std::span<const std::int64_t> shape, std::size_t count) const;
    std::shared_ptr<State> state_;
};

std::size_t size_of(Type type);
std::string to_string(Type type);
std::string to_string(std::span<const std::int64_t> shape); ///< "[8, 4096, 128]"

} // namespace lava::h5
