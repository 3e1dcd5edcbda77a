#include "base/hdf5/h5_handles.h"

#include <cstring>

namespace lava::h5 {

namespace {

constexpr std::size_t longest_fixed_string = 64 << 20;

std::string attribute_text(std::string_view name)
{
    return "attribute " + std::string(name);
}

/// The type of the attribute, which must be a single value.
Handle scalar_type(const Group& group, hid_t attribute, std::string_view name)
{
    const Handle space(H5Aget_space(attribute), H5Sclose);
    if (H5Sget_simple_extent_npoints(space) != 1)
        group.fail("", attribute_text(name) + ": expected one value, found several or none");
    return {H5Aget_type(attribute), H5Tclose};
}

std::string kind_of(hid_t type)
{
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        return "an integer";
    case H5T_FLOAT:
        return "a floating-point number";
    case H5T_STRING:
        return "a string";
    case H5T_COMPOUND:
        return "a compound value";
    case H5T_ENUM:
        return "an enumeration (as h5py stores bool)";
    default:
        return "a value of another type";
    }
}

std::string read_variable_string(hid_t attribute, hid_t type, bool& done)
{
    char* text = nullptr;
    done = H5Aread(attribute, type, &text) >= 0;
    const std::string copy = done && text ? text : "";
    if (text)
        H5free_memory(text);
    return copy;
}

std::string read_string(const Group& group, hid_t attribute, std::string_view name)
{
    const auto type = scalar_type(group, attribute, name);
    if (H5Tget_class(type) != H5T_STRING)
        group.fail("", attribute_text(name) + ": expected a string, found " + kind_of(type));
    bool done = false;
    std::string text;
    if (H5Tis_variable_str(type) > 0) {
        text = read_variable_string(attribute, type, done);
    } else if (const auto size = H5Tget_size(type); size <= longest_fixed_string) {
        text.resize(size);
        done = H5Aread(attribute, type, text.data()) >= 0;
        text.resize(std::strlen(text.c_str()));
    }
    if (!done)
        group.fail("", attribute_text(name) + ": cannot be read: " + last_reason());
    return text;
}

/// Reads an attribute of one of the number classes into `value`, converted to `memory_type`.
void read_number(const Group& group, hid_t id, std::string_view name, hid_t memory_type, bool fractions, void* value)
{
    if (H5Aexists(id, std::string(name).c_str()) <= 0)
        group.fail("", attribute_text(name) + ": missing");
    const Handle attribute(H5Aopen(id, std::string(name).c_str(), H5P_DEFAULT), H5Aclose);
    const auto type = scalar_type(group, attribute, name);
    const auto kind = H5Tget_class(type);
    if (kind != H5T_INTEGER && !(fractions && kind == H5T_FLOAT))
        group.fail("",
            attribute_text(name) + ": expected " + (fractions ? "a number" : "an integer") + ", found "
                + kind_of(type));
    if (H5Aread(attribute, memory_type, value) < 0)
        group.fail("", attribute_text(name) + ": cannot be read: " + last_reason());
}

void write_attribute(const Group& group, hid_t id, std::string_view name, hid_t type, const void* value)
{
    const std::string key(name);
    if (H5Aexists(id, key.c_str()) > 0)
        H5Adelete(id, key.c_str());
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute(H5Acreate2(id, key.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (!attribute.valid() || H5Awrite(attribute, type, value) < 0)
        group.fail("", attribute_text(name) + ": cannot be written: " + last_reason());
}

/// Writes variable-length UTF-8, which h5py opens as str.
void write_string(const Group& group, hid_t id, std::string_view name, std::string_view value)
{
    if (value.find('\0') != std::string_view::npos)
        group.fail("", attribute_text(name) + ": expected text, found a zero byte in it");
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    const std::string copy(value);
    const char* text = copy.c_str();
    write_attribute(group, id, name, type, &text);
}

} // namespace

bool Group::has_attribute(std::string_view name) const
{
    const auto guard = lock_library();
    return H5Aexists(state_->group, std::string(name).c_str()) > 0;
}

std::string Group::string_attribute(std::string_view name) const
{
    const auto guard = lock_library();
    if (!has_attribute(name))
        fail("", attribute_text(name) + ": missing");
    const Handle attribute(H5Aopen(state_->group, std::string(name).c_str(), H5P_DEFAULT), H5Aclose);
    return read_string(*this, attribute, name);
}

std::int64_t Group::int_attribute(std::string_view name) const
{
    const auto guard = lock_library();
    std::int64_t value = 0;
    read_number(*this, state_->group, name, H5T_NATIVE_INT64, false, &value);
    return value;
}

double Group::float_attribute(std::string_view name) const
{
    const auto guard = lock_library();
    double value = 0;
    read_number(*this, state_->group, name, H5T_NATIVE_DOUBLE, true, &value);
    return value;
}

void Group::set_attribute(std::string_view name, std::string_view value) const
{
    const auto guard = lock_library();
    write_string(*this, state_->group, name, value);
}

void Group::set_attribute(std::string_view name, std::int64_t value) const
{
    const auto guard = lock_library();
    write_attribute(*this, state_->group, name, H5T_STD_I64LE, &value);
}

void Group::set_attribute(std::string_view name, double value) const
{
    const auto guard = lock_library();
    write_attribute(*this, state_->group, name, H5T_IEEE_F64LE, &value);
}

std::string Group::dataset_attribute(std::string_view name, std::string_view attribute) const
{
    const auto guard = lock_library();
    h5::refuse_links(*this, state_->group, name, true);
    const Handle dataset(H5Dopen2(state_->group, std::string(name).c_str(), H5P_DEFAULT), H5Dclose);
    if (!dataset.valid())
        fail(name, why_not_opened(state_->group, file(), name, "a dataset"));
    if (H5Aexists(dataset, std::string(attribute).c_str()) <= 0)
        return {};
    const Handle handle(H5Aopen(dataset, std::string(attribute).c_str(), H5P_DEFAULT), H5Aclose);
    auto text = read_string(*this, handle, attribute);
    check_digest(*this, dataset, name, attribute, text);
    return text;
}

void Group::set_dataset_attribute(std::string_view name, std::string_view attribute, std::string_view value) const
{
    const auto guard = lock_library();
    const Handle dataset(H5Dopen2(state_->group, std::string(name).c_str(), H5P_DEFAULT), H5Dclose);
    if (!dataset.valid())
        fail(name, why_not_opened(state_->group, file(), name, "a dataset"));
    write_string(*this, dataset, attribute, value);
    write_digest(*this, dataset, std::string(attribute) + text_digest, digest_more(0, value.data(), value.size()));
}

} // namespace lava::h5
