#include "capture/resume_folder.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/hdf5/h5.h"
#include "base/output_file.h"
#include "traces/layer_datasets.h"
#include "traces/stored_tensor.h"
#include "traces/trace.h"

#include <ATen/ATen.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <iterator>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lava {

namespace {

/// The type that holds a tensor exactly.
StoreType exact_type(const at::Tensor& tensor)
{
    return tensor.scalar_type() == at::kHalf    ? StoreType::f16
        : tensor.scalar_type() == at::kBFloat16 ? StoreType::bf16
                                                : StoreType::f32;
}

void write_file(const std::filesystem::path& file, const std::function<void(const h5::Group&)>& write)
{
    OutputFile output(file);
    {
        const auto root = h5::Group::create_file(output.part(), file);
        write(root);
        root.flush();
    }
    output.commit();
}

at::Tensor read_any(const h5::Group& root, const std::string& name)
{
    return read_tensor(root, name, root.info(name).shape);
}

/// W_O is the model's, statistics are float32 on the CPU whatever the run is.
bool is_of_the_run(const LayerDataset& dataset)
{
    return dataset.role == Role::required || dataset.role == Role::evaluation;
}

/// Whether a file of this name is one that a capture makes, half-written ones of a killed process included.
bool is_own(const std::string& name)
{
    const bool is_part = name.starts_with('.') && name.ends_with(".part");
    const std::string whole = is_part ? name.substr(1) : name;
    return whole.starts_with("key.json") || whole.starts_with("layer") || whole.starts_with("streams");
}

} // namespace

ResumeFolder::ResumeFolder(std::filesystem::path folder, const TraceInfo& info, const std::string& key)
    : folder_(std::move(folder))
    , info_(info)
{
    lock();
    if (std::filesystem::exists(folder_ / "key.json"))
        check_key(key);
    else
        write_text_file(folder_ / "key.json", key);
    for (std::int64_t layer = 0; std::filesystem::exists(layer_file(layer)); ++layer)
        if (std::filesystem::exists(streams_file(layer + 1)))
            done_ = layer + 1;
}

ResumeFolder::~ResumeFolder()
{
    if (lock_ >= 0)
        ::close(lock_);
}

/// The lock ends with the process, however that ends. Where the file system has no locks, none is held.
void ResumeFolder::lock()
{
    for (struct stat here = {}, locked = {}; lock_ < 0;) {
        std::error_code error;
        std::filesystem::create_directory(folder_, error);
        lock_ = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (lock_ < 0)
            throw Error(folder_.string() + ": cannot be made: " + (error ? error.message() : std::strerror(errno)));
        if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            ::close(lock_);
            throw Error(folder_.string() + ": another lava-capture is making the same trace there: wait for it");
        }
        const bool same = ::fstat(lock_, &locked) == 0 && ::stat(folder_.c_str(), &here) == 0
            && here.st_ino == locked.st_ino && here.st_dev == locked.st_dev;
        if (!same) { // another process has finished and removed it in between
            ::close(lock_);
            lock_ = -1;
        }
    }
}

void ResumeFolder::check_key(const std::string& key) const
{
    std::ifstream stream(folder_ / "key.json", std::ios::binary);
    const std::string found{std::istreambuf_iterator<char>(stream), {}};
    if (found != key)
        throw Error(folder_.string()
            + ": is of a capture of another prompt, model or option (its key.json says which): "
              "give that command again, or remove the folder");
}

std::filesystem::path ResumeFolder::layer_file(std::int64_t layer) const
{
    return folder_ / formatted("layer{}.h5", layer);
}

std::filesystem::path ResumeFolder::streams_file(std::int64_t layers_done) const
{
    return folder_ / formatted("streams{}.h5", layers_done);
}

void ResumeFolder::save(const LayerView& view, const std::vector<at::Tensor>& streams)
{
    write_file(layer_file(done_), [&](const h5::Group& root) {
        for (const auto& dataset : layer_datasets())
            if (const auto& tensor = view.*dataset.tensor; tensor.defined() && dataset.role != Role::weight)
                write_tensor(root, dataset.name, tensor, exact_type(tensor), 0);
    });
    write_file(streams_file(done_ + 1), [&](const h5::Group& root) {
        for (std::size_t i = 0; i < streams.size(); ++i)
            write_tensor(root, std::to_string(i), streams[i], exact_type(streams[i]), 0);
    });
    std::filesystem::remove(streams_file(done_));
    ++done_;
}

PassedLayer ResumeFolder::load(std::int64_t layer, const at::Tensor& like) const
{
    const auto root = h5::Group::open_file(layer_file(layer));
    PassedLayer passed;
    LayerView& view = passed.view;
    view = sized_view(info_, layer);
    for (const auto& dataset : layer_datasets()) {
        if (!root.has(dataset.name))
            continue;
        const auto tensor = read_tensor(root, dataset.name, dataset.extents(info_));
        view.*dataset.tensor = is_of_the_run(dataset) ? tensor.to(like.options()) : tensor;
    }
    passed.cache = std::make_shared<LayerCache>(info_.shape, info_.seq_len + info_.eval_len, like);
    passed.cache->append(view.k, view.v);
    view.k = passed.cache->k(0, info_.seq_len); // not twice in memory
    view.v = passed.cache->v(0, info_.seq_len);
    return passed;
}

std::vector<at::Tensor> ResumeFolder::streams() const
{
    const auto root = h5::Group::open_file(streams_file(done_));
    std::vector<at::Tensor> streams;
    for (std::size_t i = 0; root.has(std::to_string(i)); ++i)
        streams.push_back(read_any(root, std::to_string(i)));
    return streams;
}

void ResumeFolder::remove()
{
    std::vector<std::filesystem::path> own;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
        if (is_own(entry.path().filename().string()))
            own.push_back(entry.path());
    for (const auto& file : own)
        std::filesystem::remove(file);
    std::error_code not_empty;
    std::filesystem::remove(folder_, not_empty);
}

} // namespace lava
