#include "model/lfs_pointer.h"

#include "base/error.h"

#include <fstream>
#include <string>
#include <string_view>

namespace lava {

void refuse_lfs_pointer(const std::filesystem::path& file)
{
    constexpr std::string_view beginning = "version https://git-lfs.github.com/spec/";
    if (!std::filesystem::is_regular_file(file))
        return;
    std::ifstream stream(file, std::ios::binary);
    std::string text(1024, '\0'); // the most that a pointer has
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (!text.starts_with(beginning))
        return;
    const auto size = text.find("\nsize ");
    const std::string bytes
        = size == std::string::npos ? "" : text.substr(size + 6, text.find('\n', size + 6) - size - 6);
    throw Error(file.string() + ": a Git LFS pointer, not the file itself"
        + (bytes.empty() ? "" : " of " + bytes + " bytes") + ": `git lfs pull` in its folder fetches it");
}

} // namespace lava
