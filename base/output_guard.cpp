#include "base/output_guard.h"

#include "base/error.h"
#include "base/hdf5/h5.h"
#include "base/output_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <utility>

namespace lava {

namespace {

/// Files by their path, links followed, and by their inode, which hard links share.
class KnownFiles
{
public:
    void add(const std::filesystem::path& file)
    {
        paths_.emplace(real_path(file).string(), file);
        if (const auto inode = inode_of(file))
            inodes_.emplace(*inode, file);
    }

    /// The one that is `file`; null where there is none.
    const std::filesystem::path* find(const std::filesystem::path& file) const
    {
        if (const auto same = paths_.find(real_path(file).string()); same != paths_.end())
            return &same->second;
        const auto inode = inode_of(file);
        const auto same = inode ? inodes_.find(*inode) : inodes_.end();
        return same == inodes_.end() ? nullptr : &same->second;
    }

private:
    using Inode = std::pair<dev_t, ino_t>;

    static std::optional<Inode> inode_of(const std::filesystem::path& file)
    {
        struct stat status = {};
        return ::stat(file.c_str(), &status) == 0 ? std::optional(Inode(status.st_dev, status.st_ino)) : std::nullopt;
    }

    std::map<std::string, std::filesystem::path> paths_;
    std::map<Inode, std::filesystem::path> inodes_;
};

/// Files that a group's links lead to.
void add_links(const h5::Group& group, std::set<std::filesystem::path>& files)
{
    for (const auto& name : group.names())
        if (const auto file = group.external_file(name); !file.empty())
            files.insert(file);
}

} // namespace

void refuse_same_files(std::span<const std::filesystem::path> outputs, std::span<const std::filesystem::path> inputs)
{
    KnownFiles known;
    for (const auto& input : inputs)
        if (!input.empty())
            known.add(input);
    for (const auto& output : outputs) {
        if (output.empty() || is_device_or_pipe(output))
            continue;
        if (const auto* other = known.find(output))
            throw UsageError(output.string() + ": would be written over " + other->string());
        known.add(output);
    }
}

std::vector<std::filesystem::path> files_of_model(const std::filesystem::path& folder)
{
    constexpr std::array<std::string_view, 8> kinds{
        ".json", ".jinja", ".safetensors", ".model", ".bin", ".txt", ".tiktoken", ".gguf"};
    std::vector<std::filesystem::path> files;
    std::error_code error; // a folder that is not there is told where the model is read
    for (const auto& entry : std::filesystem::directory_iterator(folder, error))
        if (std::ranges::find(kinds, entry.path().extension().string()) != kinds.end())
            files.push_back(entry.path());
    return files;
}

std::vector<std::filesystem::path> files_of_trace(const std::filesystem::path& trace)
{
    std::set<std::filesystem::path> links;
    try {
        const auto root = h5::Group::open_file(trace);
        add_links(root, links);
        const auto layers = root.group("layers");
        for (const auto& layer : layers.names())
            add_links(layers.group(layer), links);
    } catch (const Error&) { // told where the trace is read
    }
    std::vector<std::filesystem::path> files{trace};
    files.insert(files.end(), links.begin(), links.end());
    return files;
}

} // namespace lava
