#include "model/checkpoint.h"

#include "base/error.h"
#include "base/json_text.h"
#include "base/sha256.h"
#include "base/text.h"
#include "model/lfs_pointer.h"
#include "model/safetensors.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lava {

namespace {

using nlohmann::json;

/// A file mapped for reading.
class MappedFile
{
public:
    explicit MappedFile(const std::filesystem::path& path)
    {
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        struct stat status = {};
        if (descriptor < 0 || ::fstat(descriptor, &status) != 0)
            fail(path, descriptor);
        size_ = static_cast<std::size_t>(status.st_size);
        if (size_ > 0)
            data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data_ == MAP_FAILED)
            fail(path, descriptor);
        ::close(descriptor);
    }
    ~MappedFile()
    {
        if (data_)
            ::munmap(data_, size_);
    }
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

private:
    [[noreturn]] static void fail(const std::filesystem::path& path, int descriptor)
    {
        const std::string reason = std::strerror(errno);
        if (descriptor >= 0)
            ::close(descriptor);
        throw Error(path.string() + ": cannot be read: " + reason);
    }

    void* data_ = nullptr;
    std::size_t size_ = 0;
};

constexpr const char* single_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

/// Files of an index: tensor -> name of its shard.
std::map<std::string, std::string> read_index(const std::filesystem::path& file)
{
    refuse_lfs_pointer(file);
    const json index = parse_json_file(file);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
        throw Error(file.string() + ": expected a JSON object with weight_map, an object, found none");
    std::map<std::string, std::string> shards;
    for (const auto& [tensor, shard] : index["weight_map"].items()) {
        // a path would lead out of the folder
        if (!shard.is_string() || shard.get<std::string>().empty()
            || std::filesystem::path(shard.get<std::string>()).filename() != shard.get<std::string>())
            throw Error(file.string() + ": weight_map: " + tensor + ": expected a file name, found " + shard.dump());
        shards.emplace(tensor, shard.get<std::string>());
    }
    return shards;
}

/// What config.json leaves to its family, which may be what does not fit.
std::string assumption(const ModelConfig& config)
{
    std::string text;
    for (const std::string& size : config.assumed)
        text += (text.empty() ? "; config.json leaves to the family: " : ", ") + size;
    return text;
}

/// Undefined where the decoder cannot run on it.
at::ScalarType scalar_type(const StoredTensor& stored)
{
    return stored.dtype == "F32" ? at::kFloat
        : stored.dtype == "F16"  ? at::kHalf
        : stored.dtype == "BF16" ? at::kBFloat16
                                 : at::ScalarType::Undefined;
}

/// NaN and infinity are the numbers whose exponent bits are all set.
template <typename Bits> bool is_finite(std::span<const std::byte> bytes, Bits exponent)
{
    bool finite = true;
    for (std::size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
        Bits bits;
        std::memcpy(&bits, bytes.data() + i, sizeof bits); // the format does not promise alignment
        finite &= (bits & exponent) != exponent;
    }
    return finite;
}

bool is_finite(std::span<const std::byte> bytes, at::ScalarType dtype)
{
    switch (dtype) {
    case at::kHalf:
        return is_finite<std::uint16_t>(bytes, 0x7c00);
    case at::kBFloat16:
        return is_finite<std::uint16_t>(bytes, 0x7f80);
    default:
        return is_finite<std::uint32_t>(bytes, 0x7f800000);
    }
}

} // namespace

struct Checkpoint::Contents
{
    struct Shard
    {
        static std::filesystem::path checked(const std::filesystem::path& path)
        {
            refuse_lfs_pointer(path);
            return path;
        }

        std::filesystem::path file;
        MappedFile mapping;
        std::map<std::string, StoredTensor> tensors;

        explicit Shard(const std::filesystem::path& path)
            : file(checked(path))
            , mapping(path)
            , tensors(read_safetensors(mapping.bytes(), path.string()))
        { }
    };

    std::filesystem::path folder;
    std::vector<std::unique_ptr<const Shard>> shards; // sorted by file name
    std::map<std::string, const Shard*> home; // the shard that holds a tensor, by its name

    explicit Contents(const std::filesystem::path& path)
        : folder(path)
    {
        if (std::filesystem::exists(folder / single_file))
            open(single_file);
        else if (std::filesystem::exists(folder / index_file))
            open_shards();
        else
            throw Error((folder / single_file).string() + ": no such file; expected it or " + index_file
                + ", the weights of a Hugging Face model folder");
    }

private:
    void open(const std::string& name)
    {
        shards.push_back(std::make_unique<const Shard>(folder / name));
        for (const auto& entry : shards.back()->tensors)
            if (const auto [other, fresh] = home.emplace(entry.first, shards.back().get()); !fresh)
                throw Error(shards.back()->file.string() + ": tensor " + entry.first + " is in "
                    + other->second->file.filename().string() + " too");
    }

    void open_shards()
    {
        const auto index = read_index(folder / index_file);
        std::set<std::string> names;
        for (const auto& entry : index)
            names.insert(entry.second);
        for (const std::string& name : names) {
            if (!std::filesystem::exists(folder / name))
                throw Error((folder / name).string() + ": no such file; " + index_file + " lists it");
            open(name);
        }
        for (const auto& [tensor, name] : index)
            if (const auto found = home.find(tensor); found == home.end() || found->second->file.filename() != name)
                throw Error(
                    (folder / name).string() + ": tensor " + tensor + " is not there; " + index_file + " says so");
        for (const auto& [tensor, shard] : home)
            if (!index.contains(tensor))
                throw Error(shard->file.string() + ": tensor " + tensor + " is not in " + index_file);
    }
};

Checkpoint::Checkpoint(const std::filesystem::path& folder)
    : config_(read_model_config(folder))
{
    contents_ = std::make_shared<const Contents>(folder);
}

bool Checkpoint::has(const std::string& name) const
{
    return contents_->home.contains(name);
}

std::vector<std::string> Checkpoint::names() const
{
    std::vector<std::string> names;
    for (const auto& entry : contents_->home)
        names.push_back(entry.first);
    return names;
}

at::Tensor Checkpoint::tensor(const std::string& name, std::span<const std::int64_t> shape) const
{
    const auto home = contents_->home.find(name);
    if (home == contents_->home.end())
        throw Error((contents_->shards.size() == 1 ? contents_->shards.front()->file : contents_->folder).string()
            + ": tensor " + name + ": expected shape " + shape_text(shape) + ", found no such tensor"
            + assumption(config_));
    const std::string where = home->second->file.string() + ": tensor " + name + ": ";
    const StoredTensor& stored = home->second->tensors.at(name);
    if (!std::ranges::equal(stored.shape, shape))
        throw Error(where + "expected shape " + shape_text(shape) + ", found " + shape_text(stored.shape)
            + assumption(config_));
    const auto dtype = scalar_type(stored);
    if (dtype == at::ScalarType::Undefined)
        throw Error(where + "expected dtype F32, F16 or BF16, found " + stored.dtype);
    const at::IntArrayRef sizes(stored.shape);
    // the format does not promise alignment, and a misaligned view would be undefined behaviour
    if (reinterpret_cast<std::uintptr_t>(stored.bytes.data()) % at::elementSize(dtype) != 0) {
        const auto copy = at::empty(sizes, dtype);
        std::memcpy(copy.data_ptr(), stored.bytes.data(), stored.bytes.size());
        return copy;
    }
    void* data = const_cast<std::byte*>(stored.bytes.data());
    return at::from_blob(
        data, sizes, [keep = contents_](void*) {}, at::TensorOptions(dtype));
}

void Checkpoint::require_finite(const std::string& name) const
{
    const Contents::Shard& shard = *contents_->home.at(name);
    const StoredTensor& stored = shard.tensors.at(name);
    if (!is_finite(stored.bytes, scalar_type(stored)))
        throw Error(shard.file.string() + ": tensor " + name + ": expected numbers, found NaN or infinity");
}

std::string Checkpoint::sha256() const
{
    const auto& shards = contents_->shards;
    if (shards.size() == 1)
        return lava::sha256(shards.front()->mapping.bytes());
    std::string lines;
    for (const auto& shard : shards)
        lines += lava::sha256(shard->mapping.bytes()) + "  " + shard->file.filename().string() + "\n";
    return lava::sha256(std::as_bytes(std::span(lines)));
}

} // namespace lava
