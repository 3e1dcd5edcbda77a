#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lava {

/// Plain C calls into HDF5, so that files are judged and damaged by something other than our own wrapper.
class RawFile
{
public:
    enum class Digests
    {
        dropped, ///< by the first change, as if the file never had any
        kept
    };

    explicit RawFile(const std::filesystem::path& file, Digests digests = Digests::dropped)
        : id_(H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT))
        , digests_(digests)
    { }
    ~RawFile() { H5Fclose(id_); }
    RawFile(const RawFile&) = delete;
    RawFile& operator=(const RawFile&) = delete;

    void remove(const std::string& path) const
    {
        drop_digests();
        H5Ldelete(id_, path.c_str(), H5P_DEFAULT);
    }

    void set_attribute(const std::string& object, const std::string& name, std::int64_t value) const
    {
        drop_digests();
        H5Adelete_by_name(id_, object.c_str(), name.c_str(), H5P_DEFAULT);
        const hid_t space = H5Screate(H5S_SCALAR);
        const hid_t attribute = H5Acreate_by_name(
            id_, object.c_str(), name.c_str(), H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(attribute, H5T_NATIVE_INT64, &value);
        H5Sclose(space);
        H5Aclose(attribute);
    }

    void remove_attribute(const std::string& object, const std::string& name) const
    {
        drop_digests();
        H5Adelete_by_name(id_, object.c_str(), name.c_str(), H5P_DEFAULT);
    }

    /// Replaces a dataset by one of another type or shape, all zero.
    void replace(const std::string& path, hid_t type, const std::vector<hsize_t>& shape) const
    {
        remove(path);
        const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
        const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
        H5Dclose(H5Dcreate2(id_, path.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
        H5Pclose(properties);
        H5Sclose(space);
    }

    /// Writes all values of a dataset, converted to what it stores.
    template <typename T> void write(const std::string& path, const std::vector<T>& values) const
    {
        drop_digests();
        const hid_t dataset = H5Dopen2(id_, path.c_str(), H5P_DEFAULT);
        H5Dwrite(dataset, memory_type(T{}), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
        H5Dclose(dataset);
    }

    template <typename T> std::vector<T> read(const std::string& path) const
    {
        const hid_t dataset = H5Dopen2(id_, path.c_str(), H5P_DEFAULT);
        const hid_t space = H5Dget_space(dataset);
        std::vector<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
        H5Dread(dataset, memory_type(T{}), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
        H5Sclose(space);
        H5Dclose(dataset);
        return values;
    }

    std::vector<hsize_t> shape(const std::string& path) const
    {
        const hid_t dataset = H5Dopen2(id_, path.c_str(), H5P_DEFAULT);
        const hid_t space = H5Dget_space(dataset);
        std::vector<hsize_t> extents(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
        H5Sget_simple_extent_dims(space, extents.data(), nullptr);
        H5Sclose(space);
        H5Dclose(dataset);
        return extents;
    }

    bool stores(const std::string& path, hid_t type) const
    {
        const hid_t dataset = H5Dopen2(id_, path.c_str(), H5P_DEFAULT);
        const hid_t stored = H5Dget_type(dataset);
        const bool same = H5Tequal(stored, type) > 0;
        H5Tclose(stored);
        H5Dclose(dataset);
        return same;
    }

private:
    void drop_digests() const
    {
        if (digests_ == Digests::kept)
            return;
        const auto visit = [](hid_t root, const char* name, const H5O_info_t*, void*) -> herr_t {
            for (const char* digest : {"digests", "crc32"})
                if (H5Aexists_by_name(root, name, digest, H5P_DEFAULT) > 0)
                    H5Adelete_by_name(root, name, digest, H5P_DEFAULT);
            return 0;
        };
        H5Ovisit2(id_, H5_INDEX_NAME, H5_ITER_NATIVE, visit, nullptr, H5O_INFO_BASIC);
    }

    static hid_t memory_type(std::int64_t) { return H5T_NATIVE_INT64; }
    static hid_t memory_type(std::uint32_t) { return H5T_NATIVE_UINT32; }
    static hid_t memory_type(float) { return H5T_NATIVE_FLOAT; }
    static hid_t memory_type(double) { return H5T_NATIVE_DOUBLE; }

    hid_t id_;
    Digests digests_;
};

} // namespace lava
