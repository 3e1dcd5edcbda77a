#include "model/checkpoint.h"

#include "model/safetensors.h"
#include "model/sha256.h"
#include "traces/error.h"

#include <ATen/ATen.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lava {

namespace {

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

std::filesystem::path weights_file(const std::filesystem::path& folder)
{
    const auto file = folder / "model.safetensors";
    if (std::filesystem::exists(file))
        return file;
    if (std::filesystem::exists(folder / "model.safetensors.index.json"))
        throw Error((folder / "model.safetensors.index.json").string()
            + ": weights in several files are not supported; expected one model.safetensors");
    throw Error(file.string() + ": no such file; expected the weights of a Hugging Face model folder");
}

std::string to_text(std::span<const std::int64_t> shape)
{
    std::string text;
    for (const std::int64_t size : shape)
        text += (text.empty() ? "" : ", ") + std::to_string(size);
    return "[" + text + "]";
}

} // namespace

struct Checkpoint::Contents
{
    explicit Contents(const std::filesystem::path& path)
        : file(path)
        , mapping(path)
        , tensors(read_safetensors(mapping.bytes(), path.string()))
    { }

    std::filesystem::path file;
    MappedFile mapping;
    std::map<std::string, StoredTensor> tensors;
};

Checkpoint::Checkpoint(const std::filesystem::path& folder)
    : config_(read_model_config(folder))
{
    contents_ = std::make_shared<const Contents>(weights_file(folder));
}

bool Checkpoint::has(const std::string& name) const
{
    return contents_->tensors.contains(name);
}

at::Tensor Checkpoint::tensor(const std::string& name, std::span<const std::int64_t> shape) const
{
    const std::string where = contents_->file.string() + ": tensor " + name + ": ";
    const auto found = contents_->tensors.find(name);
    if (found == contents_->tensors.end())
        throw Error(where + "expected shape " + to_text(shape) + ", found no such tensor");
    const StoredTensor& stored = found->second;
    if (!std::ranges::equal(stored.shape, shape))
        throw Error(where + "expected shape " + to_text(shape) + ", found " + to_text(stored.shape));
    const auto dtype = stored.dtype == "F32" ? at::kFloat
        : stored.dtype == "F16"              ? at::kHalf
        : stored.dtype == "BF16"             ? at::kBFloat16
                                             : at::ScalarType::Undefined;
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

std::string Checkpoint::sha256() const
{
    return lava::sha256(contents_->mapping.bytes());
}

} // namespace lava
