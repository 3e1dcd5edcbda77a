#include "base/error.h"
#include "traces/trace.h"

#include <ATen/core/Tensor.h>

#include <fuzzer/FuzzedDataProvider.h>
#include <hdf5.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

// HDF5 1.10 itself crashes on flipped bytes (its global heap, which holds strings), so the file stays sound HDF5; what
// is damaged is what our own code judges: attributes, groups, datasets and their numbers.

namespace {

/// What there is to damage in the base file: objects by path, attributes by their object's path.
struct Contents
{
    std::vector<std::string> objects;
    std::vector<std::pair<std::string, std::string>> attributes;
};

herr_t add_attribute(hid_t object, const char* name, const H5A_info_t*, void* contents)
{
    auto& result = *static_cast<Contents*>(contents);
    (void)object;
    result.attributes.emplace_back(result.objects.back(), name);
    return 0;
}

herr_t add_object(hid_t file, const char* name, const H5O_info_t*, void* contents)
{
    static_cast<Contents*>(contents)->objects.emplace_back(name);
    hsize_t index = 0;
    const hid_t object = H5Oopen(file, name, H5P_DEFAULT);
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &index, add_attribute, contents);
    H5Oclose(object);
    return 0;
}

/// A number becomes another, of the attribute's own type.
void set_number(hid_t object, const std::string& name, std::int64_t value)
{
    const hid_t attribute = H5Aopen(object, name.c_str(), H5P_DEFAULT);
    const hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    if (H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT) {
        const std::vector<std::int64_t> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)), value);
        H5Awrite(attribute, H5T_NATIVE_INT64, values.data());
    }
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
}

/// Every number of a dataset becomes the same bytes.
void set_numbers(hid_t file, const std::string& name, std::uint8_t byte)
{
    const hid_t object = H5Oopen(file, name.c_str(), H5P_DEFAULT);
    if (object >= 0 && H5Iget_type(object) == H5I_DATASET) {
        const hid_t type = H5Dget_type(object), space = H5Dget_space(object);
        if (H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT) {
            const auto count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space));
            const std::vector<std::uint8_t> bytes(count * H5Tget_size(type), byte);
            H5Dwrite(object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
        }
        H5Sclose(space);
        H5Tclose(type);
    }
    H5Oclose(object);
}

void damage(hid_t file, const Contents& contents, FuzzedDataProvider& input)
{
    const auto& [owner, attribute]
        = contents.attributes[input.ConsumeIntegralInRange<std::size_t>(0, contents.attributes.size() - 1)];
    const std::string& object
        = contents.objects[input.ConsumeIntegralInRange<std::size_t>(0, contents.objects.size() - 1)];
    const int kind = input.ConsumeIntegralInRange(0, 3);
    if (kind == 0 && object != ".") {
        H5Ldelete(file, object.c_str(), H5P_DEFAULT);
    } else if (kind == 1) {
        set_numbers(file, object, input.ConsumeIntegral<std::uint8_t>());
    } else if (H5Aexists_by_name(file, owner.c_str(), attribute.c_str(), H5P_DEFAULT) > 0) {
        const hid_t opened = H5Oopen(file, owner.c_str(), H5P_DEFAULT);
        if (kind == 2) {
            H5Adelete(opened, attribute.c_str());
        } else {
            set_number(opened, attribute, input.ConsumeIntegral<std::int64_t>());
        }
        H5Oclose(opened);
    }
}

void read_all(const std::filesystem::path& path)
{
    try {
        const lava::Trace trace(path);
        for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
            trace.layer(layer);
        }
        trace.logits();
    } catch (const lava::Error&) { // a refusal is an answer
    }
}

} // namespace

/// A trace in which some of the contents are missing or changed: opened, and everything in it read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const std::filesystem::path path
        = std::filesystem::temp_directory_path() / ("lava-fuzz-" + std::to_string(getpid()) + ".h5");
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    std::filesystem::copy_file(LAVA_BASE_TRACE, path, std::filesystem::copy_options::overwrite_existing);
    Contents contents;
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    if (file < 0 || H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, add_object, &contents, H5O_INFO_BASIC) < 0) {
        std::abort();
    }
    FuzzedDataProvider input(data, size);
    for (int edits = input.ConsumeIntegralInRange(1, 4); edits > 0; --edits) {
        damage(file, contents, input);
    }
    H5Fclose(file);
    read_all(path);
    std::filesystem::remove(path);
    return 0;
}
