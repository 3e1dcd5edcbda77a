#include "base/hdf5/h5_handles.h"

#include "base/formatted.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace lava::h5 {

namespace {

/// Our own sentence stands alone, and nothing is written at exit: files are closed by their owners, and the library's
/// own attempt after a full disk ends in a loop that prints.
void open_library()
{
    H5dont_atexit();
    H5open();
}

// A thread-safe HDF5 has a handler for every thread, and each prints unless told not to.
void quiet_this_thread()
{
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

/// The text between `before` and the next `after`; empty where there is none.
std::string between(const std::string& text, const std::string& before, const std::string& after)
{
    const auto begin = text.find(before);
    if (begin == std::string::npos)
        return {};
    const auto from = begin + before.size();
    const auto end = text.find(after, from);
    return end == std::string::npos ? std::string() : text.substr(from, end - from);
}

/// File and path that an external link names; both empty where it cannot be read.
std::pair<std::string, std::string> external_value(hid_t group, const std::string& name, const H5L_info_t& link)
{
    std::vector<char> value(link.u.val_size);
    const char* file = nullptr;
    const char* path = nullptr;
    unsigned flags = 0;
    if (H5Lget_val(group, name.c_str(), value.data(), value.size(), H5P_DEFAULT) < 0
        || H5Lunpack_elink_val(value.data(), value.size(), &flags, &file, &path) < 0)
        return {};
    return {file, path};
}

std::filesystem::path beside(const std::string& file, const std::string& target)
{
    return std::filesystem::path(file).parent_path() / target;
}

std::string external_target(hid_t group, const std::string& name, const H5L_info_t& link, const std::string& file)
{
    const auto [target, path] = external_value(group, name, link);
    const auto expected = beside(file, target);
    std::error_code error;
    const bool there = std::filesystem::exists(expected, error);
    return "links to " + path + " of " + target + ", expected at " + expected.string()
        + (there ? ", which does not hold it" : ", but there is no such file");
}

std::string link_text(hid_t group, const std::string& name, const H5L_info_t& link)
{
    if (link.type == H5L_TYPE_EXTERNAL) {
        const auto [file, path] = external_value(group, name, link);
        return "a link to " + path + " of " + file;
    }
    std::vector<char> value(link.u.val_size + 1);
    if (link.type == H5L_TYPE_SOFT && H5Lget_val(group, name.c_str(), value.data(), value.size(), H5P_DEFAULT) >= 0)
        return std::string("a link to ") + value.data();
    return "a link";
}

/// W_O and b_o may lie in a file of their own, at the same place.
bool is_weights_link(const Group& group, hid_t id, const std::string& name, const H5L_info_t& link)
{
    const auto leaf = name.substr(name.rfind('/') + 1);
    const auto own = (group.path() == "/" ? "" : group.path()) + "/" + name;
    return link.type == H5L_TYPE_EXTERNAL && (leaf == "w_o" || leaf == "b_o")
        && external_value(id, name, link).second == own;
}

} // namespace

void refuse_links(const Group& group, hid_t id, std::string_view name, bool weights_may)
{
    const std::string whole(name);
    for (std::size_t end = 0; end < whole.size();) {
        end = std::min(whole.find('/', end + 1), whole.size());
        const auto part = whole.substr(0, end);
        H5L_info_t link{};
        if (H5Lexists(id, part.c_str(), H5P_DEFAULT) <= 0 || H5Lget_info(id, part.c_str(), &link, H5P_DEFAULT) < 0)
            return; // missing, which is said elsewhere
        if (link.type == H5L_TYPE_HARD || (weights_may && is_weights_link(group, id, part, link)))
            continue;
        group.fail(part,
            "expected it in the file itself, found " + link_text(id, part, link)
                + ": only w_o and b_o of a layer may be links, to the same place in a weights file");
    }
}

void Group::refuse_links(std::string_view name) const
{
    const auto guard = lock_library();
    h5::refuse_links(*this, state_->group, name, false);
}

std::string in_plain_words(const std::string& reason)
{
    if (reason.find("already open for write") != std::string::npos
        || reason.find("already open for SWMR") != std::string::npos
        || reason.find("consistency flags") != std::string::npos)
        return "another program has it open for writing, or ended without closing it (h5clear -s FILE takes the mark "
               "away)";
    if (reason.find("version") != std::string::npos || reason.find("unknown message") != std::string::npos) {
        unsigned major = 0, minor = 0, release = 0;
        H5get_libversion(&major, &minor, &release);
        return formatted("its layout is newer than HDF5 {}.{}.{} reads, or it is damaged: {} (h5repack of the newer "
                         "HDF5, with --high=V110, writes the older layout)",
            major, minor, release, reason);
    }
    return {};
}

std::unique_lock<std::recursive_mutex> lock_library()
{
    static std::recursive_mutex mutex;
    std::unique_lock lock(mutex);
    static const bool is_open = (open_library(), true);
    thread_local const bool is_quiet = (quiet_this_thread(), true);
    (void)is_open;
    (void)is_quiet;
    return lock;
}

std::string last_reason()
{
    std::string innermost;
    const auto keep_last = [](unsigned, const H5E_error2_t* error, void* text) -> herr_t {
        *static_cast<std::string*>(text) = error->desc ? error->desc : "";
        return 0;
    };
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_last, &innermost);
    if (const auto words = between(innermost, "error message = '", "'"); !words.empty())
        return words;
    return innermost.empty() ? "unknown reason" : innermost;
}

std::string why_not_opened(hid_t group, const std::string& file, std::string_view name, std::string_view wanted)
{
    const auto reason = last_reason(); // the calls below replace it
    const std::string key(name);
    H5L_info_t link{};
    if (H5Lexists(group, key.c_str(), H5P_DEFAULT) <= 0 || H5Lget_info(group, key.c_str(), &link, H5P_DEFAULT) < 0)
        return "missing, expected " + std::string(wanted);
    if (H5Oexists_by_name(group, key.c_str(), H5P_DEFAULT) <= 0) {
        if (link.type == H5L_TYPE_EXTERNAL)
            return external_target(group, key, link, file);
        if (link.type == H5L_TYPE_SOFT)
            return "a link whose target is missing, expected " + std::string(wanted);
    }
    H5O_info_t object{};
    if (H5Oget_info_by_name2(group, key.c_str(), &object, H5O_INFO_BASIC, H5P_DEFAULT) >= 0) {
        if (object.type == H5O_TYPE_GROUP && wanted != "a group")
            return "expected " + std::string(wanted) + ", found a group";
        if (object.type != H5O_TYPE_GROUP && wanted == "a group")
            return "expected a group, found a dataset";
    }
    const auto words = in_plain_words(reason);
    return "cannot be opened: " + (words.empty() ? reason : words);
}

std::filesystem::path Group::external_file(std::string_view name) const
{
    const auto guard = lock_library();
    const std::string key(name);
    H5L_info_t link{};
    if (H5Lexists(state_->group, key.c_str(), H5P_DEFAULT) <= 0
        || H5Lget_info(state_->group, key.c_str(), &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_EXTERNAL)
        return {};
    return beside(file(), external_value(state_->group, key, link).first);
}

} // namespace lava::h5
