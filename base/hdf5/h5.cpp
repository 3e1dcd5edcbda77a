#include "base/hdf5/h5.h"

#include "base/formatted.h"
#include "base/hdf5/deflated_chunks.h"
#include "base/hdf5/h5_handles.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <utility>

namespace lava::h5 {

namespace {

// Beyond this, a deflated dataset cannot expand: RFC 1951 codes at most 258 bytes in 2 bits.
constexpr std::uint64_t deflate_max_ratio = 1032;
constexpr std::uint64_t chunk_bytes = 1 << 20;

Handle open_dataset(const Group& group, hid_t id, std::string_view name)
{
    refuse_links(group, id, name, true);
    Handle dataset(H5Dopen2(id, std::string(name).c_str(), H5P_DEFAULT), H5Dclose);
    if (!dataset.valid())
        group.fail(name, why_not_opened(id, group.file(), name, "a dataset"));
    return dataset;
}

Type stored_type(const Group& group, hid_t dataset, std::string_view name)
{
    const Handle stored(H5Dget_type(dataset), H5Tclose);
    for (const auto type :
        {Type::u8, Type::u16, Type::u32, Type::i32, Type::i64, Type::f16, Type::f32, Type::f64, Type::bf16})
        if (H5Tequal(stored, make_type(type)) > 0)
            return type;
    group.fail(name, "expected " + wanted_type(stored) + ", found " + describe_type(stored));
}

std::vector<std::int64_t> stored_shape(const Group& group, hid_t dataset, std::string_view name)
{
    const Handle space(H5Dget_space(dataset), H5Sclose);
    const auto kind = H5Sget_simple_extent_type(space);
    if (kind != H5S_SIMPLE && kind != H5S_SCALAR)
        group.fail(name, "expected an array, found a null dataspace");
    const int rank = H5Sget_simple_extent_ndims(space);
    std::vector<hsize_t> extents(static_cast<std::size_t>(std::max(rank, 0)));
    if (rank < 0 || H5Sget_simple_extent_dims(space, extents.data(), nullptr) < 0)
        group.fail(name, "the shape cannot be read: " + last_reason());
    return {extents.begin(), extents.end()};
}

/// Bytes of the whole array; -1 where they overflow.
std::int64_t array_bytes(std::span<const std::int64_t> shape, std::size_t element)
{
    auto bytes = static_cast<std::int64_t>(element);
    for (const auto extent : shape)
        if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes))
            return std::find(shape.begin(), shape.end(), 0) != shape.end() ? 0 : -1;
    return bytes;
}

/// Filters that this library cannot undo are named.
void check_filters(const Group& group, hid_t creation, std::string_view name)
{
    for (int i = 0; i < H5Pget_nfilters(creation); ++i) {
        char words[64] = "";
        unsigned flags = 0, settings = 0;
        std::size_t count = 0;
        const auto filter = H5Pget_filter2(
            creation, static_cast<unsigned>(i), &flags, &count, nullptr, sizeof words, words, &settings);
        if (filter > 0 && H5Zfilter_avail(filter) <= 0)
            group.fail(name,
                formatted("expected HDF5's own filters (deflate, shuffle, fletcher32), found filter {}{}", filter,
                    words[0] != 0 ? std::string(", ") + words : ""));
    }
}

/// How often larger than its storage a dataset of this layout can be.
std::uint64_t expansion(const Group& group, hid_t dataset, std::string_view name)
{
    const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
    if (H5Pget_layout(creation) == H5D_VIRTUAL || H5Pget_external_count(creation) > 0)
        group.fail(name, "expected data in the file itself, found raw data kept in other files");
    check_filters(group, creation, name);
    return H5Pget_nfilters(creation) > 0 ? deflate_max_ratio : 1;
}

/// Refuses shapes that the file cannot hold, so that nobody allocates for them.
void check_storage(const Group& group, hid_t dataset, std::string_view name, const DatasetInfo& info)
{
    const auto bytes = array_bytes(info.shape, size_of(info.type));
    if (bytes == 0)
        return;
    hsize_t file_size = 0;
    const Handle file(H5Iget_file_id(dataset), H5Fclose); // the weights file, where a link led there
    H5Fget_filesize(file, &file_size);
    const std::uint64_t stored = H5Dget_storage_size(dataset);
    const auto factor = expansion(group, dataset, name);
    if (bytes < 0 || stored > file_size || static_cast<std::uint64_t>(bytes) / factor > stored)
        group.fail(name,
            formatted("shape {} of {} cannot be: {} bytes are stored in a file of {}", to_string(info.shape),
                to_string(info.type), stored, file_size));
}

/// Leading extents shrink first, so that one chunk holds neighbouring rows.
std::vector<hsize_t> chunk_shape(std::span<const std::int64_t> shape, std::size_t element)
{
    std::vector<hsize_t> chunk(shape.begin(), shape.end());
    const auto bytes = [&] {
        std::uint64_t product = element;
        for (const auto extent : chunk)
            product *= extent;
        return product;
    };
    for (auto& extent : chunk)
        while (extent > 1 && bytes() > chunk_bytes)
            extent = (extent + 1) / 2;
    return chunk;
}

bool is_deflated(std::span<const std::int64_t> shape, WriteOptions options)
{
    return options.deflate > 0 && !shape.empty() && array_bytes(shape, 1) > 0;
}

Handle creation_properties(Type type, std::span<const std::int64_t> shape, WriteOptions options)
{
    Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_obj_track_times(properties, false); // the same input gives the same bytes
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    if (is_deflated(shape, options)) {
        const auto chunk = chunk_shape(shape, size_of(type));
        H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
        H5Pset_shuffle(properties);
        H5Pset_deflate(properties, static_cast<unsigned>(options.deflate));
    }
    return properties;
}

/// A scalar where there are no extents.
Handle make_space(const std::vector<hsize_t>& extents)
{
    return {extents.empty() ? H5Screate(H5S_SCALAR)
                            : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
        H5Sclose};
}

struct CreatedDataset
{
    Handle space, type, dataset;
};

CreatedDataset create_dataset(const Group& group, hid_t group_id, std::string_view name, Type type,
    std::span<const std::int64_t> shape, WriteOptions options)
{
    CreatedDataset created{make_space({shape.begin(), shape.end()}), make_type(type), {}};
    const auto properties = creation_properties(type, shape, options);
    created.dataset = Handle(H5Dcreate2(group_id, std::string(name).c_str(), created.type, created.space, H5P_DEFAULT,
                                 properties, H5P_DEFAULT),
        H5Dclose);
    if (!created.dataset.valid())
        group.fail(name, "cannot be created: " + last_reason());
    return created;
}

/// False where HDF5 refuses.
bool write_values(const CreatedDataset& created, Type type, std::span<const std::int64_t> shape, const void* data,
    WriteOptions options, const std::function<void(std::int64_t)>& done)
{
    const auto element = size_of(type);
    if (is_deflated(shape, options))
        return write_deflated(created.dataset,
            {data, element, {shape.begin(), shape.end()}, chunk_shape(shape, element)}, options.deflate,
            options.threads, done);
    if (array_bytes(shape, 1) != 0 && H5Dwrite(created.dataset, created.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        return false;
    for (std::int64_t index = 0; done && index < shape.front(); ++index)
        done(index);
    return true;
}

Handle access_properties()
{
    Handle properties(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    // Files appear whole by rename, so locks protect nothing; file systems without them are common on clusters.
    H5Pset_file_locking(properties, false, true);
    return properties;
}

/// What can be said of a file without HDF5; empty where nothing is wrong.
std::string plain_file_fault(const std::filesystem::path& file)
{
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (status.type() == std::filesystem::file_type::not_found)
        return "no such file";
    if (status.type() == std::filesystem::file_type::directory)
        return "expected an HDF5 file, found a folder";
    if (error)
        return "cannot be opened: " + error.message();
    if (status.type() != std::filesystem::file_type::regular)
        return "expected an HDF5 file, found something that is no regular file";
    if (::access(file.c_str(), R_OK) != 0)
        return std::string("cannot be opened: ") + std::strerror(errno);
    return {};
}

/// Why HDF5 refuses a file whose signature is right.
std::string damage(const std::filesystem::path& file)
{
    const auto reason = last_reason();
    constexpr std::string_view mark = "stored_eof = ";
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    if (const auto at = reason.find(mark); reason.starts_with("truncated file") && at != std::string::npos)
        return formatted("a truncated HDF5 file: expected {} bytes, found {}", reason.substr(at + mark.size()), size);
    const auto words = in_plain_words(reason);
    return words.empty() ? "a damaged HDF5 file: " + reason : "cannot be opened: " + words;
}

} // namespace

Group::Group(std::shared_ptr<State> state)
    : state_(std::move(state))
{ }

Group Group::open_file(const std::filesystem::path& file)
{
    const auto guard = lock_library();
    const auto name = file.string();
    if (const auto fault = plain_file_fault(file); !fault.empty())
        throw Error(name + ": " + fault);
    if (H5Fis_hdf5(name.c_str()) <= 0)
        throw Error(name + ": not an HDF5 file");
    const auto access = access_properties(); // closed after last_reason(), which any other call would clear
    auto handle = std::make_shared<Handle>(H5Fopen(name.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
    if (!handle->valid())
        throw Error(name + ": " + damage(file));
    Handle root(H5Gopen2(*handle, "/", H5P_DEFAULT), H5Gclose);
    if (!root.valid())
        throw Error(name + ": " + damage(file));
    Group group(std::make_shared<State>(State{std::move(handle), std::move(root), name, "/"}));
    check_digests(group, group.state_->group);
    return group;
}

Group Group::create_file(const std::filesystem::path& file, const std::filesystem::path& shown)
{
    const auto guard = lock_library();
    const auto name = (shown.empty() ? file : shown).string();
    const auto access = access_properties();
    auto handle = std::make_shared<Handle>(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
    if (!handle->valid())
        throw Error(name + ": cannot be created: " + last_reason());
    Handle root(H5Gopen2(*handle, "/", H5P_DEFAULT), H5Gclose);
    return Group(std::make_shared<State>(State{std::move(handle), std::move(root), name, "/"}));
}

const std::string& Group::file() const
{
    return state_->file;
}

const std::string& Group::path() const
{
    return state_->path;
}

void Group::fail(std::string_view name, const std::string& message) const
{
    const auto folder = path() == "/" ? "" : path();
    throw Error(file() + ": " + (name.empty() ? path() : folder + "/" + std::string(name)) + ": " + message);
}

bool Group::has(std::string_view name) const
{
    const auto guard = lock_library();
    const std::string whole(name);
    for (std::size_t end = 0; end < whole.size();) {
        end = std::min(whole.find('/', end + 1), whole.size());
        if (H5Lexists(state_->group, whole.substr(0, end).c_str(), H5P_DEFAULT) <= 0)
            return false;
    }
    return true;
}

std::vector<std::string> Group::names() const
{
    const auto guard = lock_library();
    std::vector<std::string> found;
    const auto add = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
        static_cast<std::vector<std::string>*>(list)->emplace_back(name);
        return 0;
    };
    if (H5Literate(state_->group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, add, &found) < 0)
        fail("", "cannot be listed: " + last_reason());
    std::sort(found.begin(), found.end());
    return found;
}

Group Group::group(std::string_view name) const
{
    const auto guard = lock_library();
    h5::refuse_links(*this, state_->group, name, false);
    Handle handle(H5Gopen2(state_->group, std::string(name).c_str(), H5P_DEFAULT), H5Gclose);
    if (!handle.valid())
        fail(name, why_not_opened(state_->group, file(), name, "a group"));
    const auto full = (path() == "/" ? "" : path()) + "/" + std::string(name);
    Group group(std::make_shared<State>(State{state_->file_handle, std::move(handle), file(), full}));
    check_digests(group, group.state_->group);
    return group;
}

Group Group::create_group(std::string_view name) const
{
    const auto guard = lock_library();
    Handle handle(
        H5Gcreate2(state_->group, std::string(name).c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    if (!handle.valid())
        fail(name, "cannot be created: " + last_reason());
    const auto full = (path() == "/" ? "" : path()) + "/" + std::string(name);
    return Group(std::make_shared<State>(State{state_->file_handle, std::move(handle), file(), full}));
}

void Group::link_external(std::string_view name, const std::string& target_file, const std::string& target_path) const
{
    const auto guard = lock_library();
    const std::string link(name);
    if (H5Lcreate_external(
            target_file.c_str(), target_path.c_str(), state_->group, link.c_str(), H5P_DEFAULT, H5P_DEFAULT)
        < 0)
        fail(name, "cannot be linked to " + target_file + ": " + last_reason());
}

DatasetInfo Group::info(std::string_view name) const
{
    const auto guard = lock_library();
    const auto dataset = open_dataset(*this, state_->group, name);
    DatasetInfo found{stored_type(*this, dataset, name), stored_shape(*this, dataset, name)};
    check_storage(*this, dataset, name, found);
    return found;
}

void Group::read_raw(std::string_view name, void* data, std::size_t size) const
{
    const auto guard = lock_library();
    const auto found = info(name);
    const auto bytes = static_cast<std::size_t>(array_bytes(found.shape, size_of(found.type)));
    if (bytes != size)
        fail(name, formatted("expected {} bytes, found {}", size, bytes));
    const auto dataset = open_dataset(*this, state_->group, name);
    if (bytes == 0)
        return;
    const auto type = make_type(found.type);
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        fail(name, "cannot be read: " + last_reason());
    check_digest(*this, dataset, name, data, size);
}

void Group::write_raw(
    std::string_view name, Type type, std::span<const std::int64_t> shape, const void* data, WriteOptions options) const
{
    write_raw(name, type, shape, data, options, {});
}

void Group::write_raw(std::string_view name, Type type, std::span<const std::int64_t> shape, const void* data,
    WriteOptions options, const std::function<void(std::int64_t)>& done) const
{
    const auto guard = lock_library();
    const auto created = create_dataset(*this, state_->group, name, type, shape, options);
    const auto bytes = static_cast<std::size_t>(array_bytes(shape, size_of(type)));
    const auto row = done && shape.front() > 0 ? bytes / static_cast<std::size_t>(shape.front()) : 0;
    std::uint32_t digest = done ? 0 : digest_more(0, data, bytes);
    const auto next = [&](std::int64_t index) { // before its part of the data may leave memory
        digest = digest_more(digest, static_cast<const std::byte*>(data) + row * static_cast<std::size_t>(index), row);
        done(index);
    };
    if (!write_values(created, type, shape, data, options, done ? std::function<void(std::int64_t)>(next) : done))
        fail(name, "cannot be written: " + last_reason());
    write_digest(*this, created.dataset, values_digest, digest);
}

void Group::flush() const
{
    const auto guard = lock_library();
    if (H5Fflush(*state_->file_handle, H5F_SCOPE_GLOBAL) < 0)
        throw Error(file() + ": cannot be written: " + last_reason());
}

std::size_t Group::checked_count(std::string_view name, Type type, std::span<const std::int64_t> shape) const
{
    const auto found = info(name);
    if (found.type != type)
        fail(name, "expected " + to_string(type) + ", found " + to_string(found.type));
    const auto fits = found.shape.size() == shape.size()
        && std::equal(shape.begin(), shape.end(), found.shape.begin(),
            [](std::int64_t wanted, std::int64_t there) { return wanted < 0 || wanted == there; });
    if (!fits)
        fail(name, "expected " + to_string(shape) + ", found " + to_string(found.shape));
    return static_cast<std::size_t>(array_bytes(found.shape, 1));
}

void Group::check_size(std::string_view name, std::span<const std::int64_t> shape, std::size_t count) const
{
    if (array_bytes(shape, 1) != static_cast<std::int64_t>(count))
        fail(name, formatted("expected {}, found {} values", to_string(shape), count));
}

} // namespace lava::h5
