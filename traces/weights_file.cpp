#include "traces/weights_file.h"

#include "base/error.h"
#include "base/formatted.h"
#include "traces/trace_metadata.h"

namespace lava {

namespace {

constexpr const char* weights_format = "lava-weights";

void check_same(const h5::Group& root, const char* name, std::int64_t expected)
{
    if (const auto found = root.int_attribute(name); found != expected)
        throw Error(formatted(
            "{}: weights of another model: attribute {}: expected {}, found {}", root.file(), name, expected, found));
}

} // namespace

void check_weights_file(const std::filesystem::path& file, const TraceInfo& info)
{
    const auto root = h5::Group::open_file(file);
    check_format(root, weights_format);
    check_same(root, "num_layers", info.shape.num_layers);
    check_same(root, "num_heads", info.shape.num_heads);
    check_same(root, "head_dim", info.shape.head_dim);
    check_same(root, "hidden_size", info.shape.hidden_size);
    const auto found = root.string_attribute("weights_sha256");
    if (found != info.weights_sha256)
        throw Error(root.file() + ": weights of another model: attribute weights_sha256: expected "
            + (info.weights_sha256.empty() ? "none" : info.weights_sha256) + ", found "
            + (found.empty() ? "none" : found));
}

void write_weights_metadata(const h5::Group& root, const TraceInfo& info)
{
    write_format(root, weights_format);
    root.set_attribute("generator", info.generator);
    root.set_attribute("model", info.model_name);
    root.set_attribute("weights_sha256", info.weights_sha256);
    root.set_attribute("num_layers", info.shape.num_layers);
    root.set_attribute("num_heads", info.shape.num_heads);
    root.set_attribute("head_dim", info.shape.head_dim);
    root.set_attribute("hidden_size", info.shape.hidden_size);
}

} // namespace lava
