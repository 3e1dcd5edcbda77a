// Digests: what was written, noted beside it, so that a reader sees when a byte has changed.

#include "base/hdf5/h5_handles.h"

#include <libdeflate.h>

#include <algorithm>
#include <cstdio>
#include <optional>

namespace lava::h5 {

namespace {

constexpr const char* group_digests = "digests"; // holds the digests of a group's attributes and children
constexpr std::string_view changed
    = "does not match its digest: the file is damaged, or was changed since it was written";

std::uint32_t digest(std::string_view bytes)
{
    return digest_more(0, bytes.data(), bytes.size());
}

std::string hexadecimal(std::uint32_t value)
{
    char text[9];
    std::snprintf(text, sizeof text, "%08x", value);
    return text;
}

/// What is noted of an attribute: text itself, integers as int64, other numbers as float64; nothing of other kinds.
std::string noted_value(const Group& group, hid_t id, const std::string& name)
{
    const Handle attribute(H5Aopen(id, name.c_str(), H5P_DEFAULT), H5Aclose);
    const Handle type(H5Aget_type(attribute), H5Tclose);
    const auto bytes_of
        = [](const auto& value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); };
    switch (H5Tget_class(type)) {
    case H5T_STRING:
        return group.string_attribute(name);
    case H5T_INTEGER:
        return bytes_of(group.int_attribute(name));
    case H5T_FLOAT:
        return bytes_of(group.float_attribute(name));
    default:
        return {};
    }
}

std::vector<std::string> attribute_names(hid_t id)
{
    std::vector<std::string> names;
    const auto add = [](hid_t, const char* name, const H5A_info_t*, void* list) -> herr_t {
        if (std::string_view(name) != group_digests)
            static_cast<std::vector<std::string>*>(list)->emplace_back(name);
        return 0;
    };
    hsize_t position = 0;
    H5Aiterate2(id, H5_INDEX_NAME, H5_ITER_NATIVE, &position, add, &names);
    std::sort(names.begin(), names.end());
    return names;
}

bool is_group(hid_t id, const std::string& name)
{
    H5L_info_t link{};
    H5O_info_t object{};
    return H5Lget_info(id, name.c_str(), &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD
        && H5Oget_info_by_name2(id, name.c_str(), &object, H5O_INFO_BASIC, H5P_DEFAULT) >= 0
        && object.type == H5O_TYPE_GROUP;
}

/// A line for an attribute, "NAME DIGEST", or for a child, "/NAME".
void check_line(const Group& group, hid_t id, const std::string& line)
{
    if (line.starts_with('/')) {
        if (H5Lexists(id, line.substr(1).c_str(), H5P_DEFAULT) <= 0)
            group.fail(line.substr(1), "missing, though it was written: the file is damaged, or was changed since");
        return;
    }
    const auto space = line.rfind(' ');
    const auto name = line.substr(0, space);
    if (space == std::string::npos || H5Aexists(id, name.c_str()) <= 0)
        group.fail(
            "", "attribute " + name + ": missing, though it was written: the file is damaged, or was changed since");
    if (line.substr(space + 1) != hexadecimal(digest(noted_value(group, id, name))))
        group.fail("", "attribute " + name + ": " + std::string(changed));
}

/// The file that the dataset lies in, where a link led to another one.
std::string elsewhere(const Group& group, hid_t dataset)
{
    std::string file(4096, '\0');
    const auto size = H5Fget_name(dataset, file.data(), file.size());
    file.resize(size > 0 ? std::min<std::size_t>(static_cast<std::size_t>(size), file.size()) : 0);
    return file.empty() || file == group.file() ? std::string() : " (in " + file + ")";
}

/// The digest that the dataset's attribute `key` notes; none where nothing was noted.
std::optional<std::int64_t> noted_digest(
    const Group& group, hid_t dataset, std::string_view name, const std::string& key)
{
    if (H5Aexists(dataset, key.c_str()) <= 0)
        return std::nullopt;
    const Handle attribute(H5Aopen(dataset, key.c_str(), H5P_DEFAULT), H5Aclose);
    std::int64_t value = -1;
    if (H5Aread(attribute, H5T_NATIVE_INT64, &value) < 0)
        group.fail(name, "attribute " + key + ": cannot be read: " + last_reason());
    return value;
}

} // namespace

std::uint32_t digest_more(std::uint32_t so_far, const void* bytes, std::size_t size)
{
    return ::libdeflate_crc32(so_far, bytes, size); // zlib's numbers, several times as fast
}

void write_digest(const Group& group, hid_t dataset, const std::string& name, std::uint32_t value)
{
    const std::int64_t number = value;
    if (H5Aexists(dataset, name.c_str()) > 0)
        H5Adelete(dataset, name.c_str());
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute(H5Acreate2(dataset, name.c_str(), H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (!attribute.valid() || H5Awrite(attribute, H5T_NATIVE_INT64, &number) < 0)
        group.fail("", "attribute " + name + ": cannot be written: " + last_reason());
}

void check_digest(const Group& group, hid_t dataset, std::string_view name, const void* data, std::size_t size)
{
    const auto expected = noted_digest(group, dataset, name, values_digest);
    if (expected && *expected != digest_more(0, data, size))
        group.fail(name, std::string(changed) + elsewhere(group, dataset));
}

void check_digest(
    const Group& group, hid_t dataset, std::string_view name, std::string_view attribute, const std::string& text)
{
    const auto key = std::string(attribute);
    const auto expected = noted_digest(group, dataset, name, key + text_digest);
    if (expected && *expected != digest(text))
        group.fail(name, "attribute " + key + ": " + std::string(changed));
}

void check_digests(const Group& group, hid_t id)
{
    if (H5Aexists(id, group_digests) <= 0)
        return;
    const auto text = group.string_attribute(group_digests);
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = std::min(text.find('\n', begin), text.size());
        check_line(group, id, text.substr(begin, end - begin));
        begin = end + 1;
    }
}

void Group::seal() const
{
    const auto guard = lock_library();
    std::string text;
    for (const auto& name : attribute_names(state_->group))
        text += name + " " + hexadecimal(digest(noted_value(*this, state_->group, name))) + "\n";
    for (const auto& name : names()) {
        text += "/" + name + "\n";
        if (is_group(state_->group, name))
            group(name).seal();
    }
    set_attribute(group_digests, std::string_view(text));
}

bool Group::is_sealed() const
{
    return has_attribute(group_digests);
}

} // namespace lava::h5
