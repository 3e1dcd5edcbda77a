#include "traces/trace.h"

#include "base/formatted.h"
#include "traces/layer_datasets.h"
#include "traces/stored_tensor.h"
#include "traces/trace_metadata.h"
#include "traces/weights_file.h"

#include <algorithm>
#include <map>
#include <set>

namespace lava {

struct Trace::File
{
    h5::Group root;
};

namespace {

h5::Group layer_group(const h5::Group& root, const TraceInfo& info, std::int64_t layer)
{
    return root.group("layers/" + layer_name(layer, info.shape.num_layers));
}

/// The table's datasets that the group has, links that lead nowhere included.
std::set<std::string_view> datasets_of(const h5::Group& group)
{
    const auto names = group.names();
    std::set<std::string_view> found;
    for (const auto& dataset : layer_datasets()) {
        if (std::binary_search(names.begin(), names.end(), dataset.name))
            found.insert(dataset.name);
        else if (dataset.role == Role::required)
            group.fail(dataset.name, "missing, expected a dataset");
    }
    return found;
}

void check_alike(const h5::Group& group, const std::set<std::string_view>& here, const h5::Group& first,
    const std::set<std::string_view>& there)
{
    for (const auto& dataset : layer_datasets()) {
        if (here.contains(dataset.name) != there.contains(dataset.name))
            group.fail(dataset.name,
                here.contains(dataset.name) ? "expected none, as in " + first.path()
                                            : "missing, expected one as in " + first.path());
    }
}

using WeightsFiles = std::map<std::filesystem::path, h5::Group>;

/// A linked weights file must be where the link says, and of this model. (HDF5 would also look in the current folder.)
void check_link(const h5::Group& group, std::string_view name, TraceInfo& info, WeightsFiles& weights)
{
    const auto file = group.external_file(name);
    if (file.empty())
        return;
    if (!weights.contains(file)) {
        if (!std::filesystem::exists(file))
            group.fail(name, "links to the weights file " + file.string() + ", but there is no such file");
        check_weights_file(file, info);
        weights.emplace(file, h5::Group::open_file(file));
        info.has_digests = info.has_digests && weights.at(file).is_sealed();
    }
    weights.at(file).refuse_links(group.path().substr(1) + "/" + std::string(name)); // the end of the chain
}

/// Checks one dataset and returns how coarsely it is stored.
StoreType check_dataset(const h5::Group& group, const LayerDataset& dataset, const TraceInfo& info)
{
    const auto extents = dataset.extents(info);
    const auto type = check_tensor(group, dataset.name, extents);
    if (dataset.role == Role::statistic && type != StoreType::f32)
        group.fail(dataset.name, "expected float32, found " + std::string(to_string(type)));
    return type;
}

/// Checks the links of all layers; closes the files that they lead to before anything is read through them: HDF5 1.10
/// follows no link into a file that is open without locks.
void check_links(const h5::Group& root, TraceInfo& info)
{
    WeightsFiles weights;
    for (std::int64_t layer = 0; layer < info.shape.num_layers; ++layer) {
        const auto group = layer_group(root, info, layer);
        const auto names = datasets_of(group);
        for (const auto& dataset : layer_datasets())
            if (dataset.role == Role::weight && names.contains(dataset.name))
                check_link(group, dataset.name, info, weights);
    }
}

/// Checks every layer; fills in what depends on them.
void check_layers(const h5::Group& root, TraceInfo& info)
{
    const auto layers = root.group("layers");
    const auto first = layer_group(root, info, 0);
    const auto first_names = datasets_of(first);
    info.has_digests = root.is_sealed();
    check_links(root, info);
    for (std::int64_t layer = 0; layer < info.shape.num_layers; ++layer) {
        const auto group = layer_group(root, info, layer);
        const auto names = datasets_of(group);
        check_alike(group, names, first, first_names);
        for (const auto& dataset : layer_datasets()) {
            if (!names.contains(dataset.name))
                continue;
            info.store_type = std::max(info.store_type, check_dataset(group, dataset, info));
        }
    }
    if (const auto found = static_cast<std::int64_t>(layers.names().size()); found != info.shape.num_layers)
        layers.fail("", formatted("expected as many layers as num_layers, {}, found {}", info.shape.num_layers, found));
    const auto has = [&](const char* name) { return first_names.contains(name); };
    info.has_losses = info.eval_len > 0 && has("q_eval") && has("k_eval") && has("v_eval") && has("w_o");
    info.has_outputs = info.has_losses && has("attn_out");
    info.has_layer_outputs = info.has_losses && has("resid_mid") && has("mlp_out");
    info.has_observed_attention = has("observed_attention");
    info.has_query_statistics = has("q_pre_rope_mean") && has("q_pre_rope_cov");
    info.has_repeat_maxima = has("repeat_maxima");
    info.has_repeat_maxima_plus = has("repeat_maxima_plus");
}

void check_logits(const h5::Group& root, TraceInfo& info)
{
    const auto names = root.names();
    info.has_logits = info.eval_len > 0 && std::binary_search(names.begin(), names.end(), "logits");
    if (!info.has_logits)
        return;
    const std::int64_t extents[] = {info.eval_len, info.vocab_size};
    check_tensor(root, "logits", extents);
}

} // namespace

Trace::Trace(const std::filesystem::path& file)
    : file_(std::make_unique<File>(File{h5::Group::open_file(file)}))
    , info_(read_metadata(file_->root))
{
    check_layers(file_->root, info_);
    check_logits(file_->root, info_);
}

Trace::~Trace() = default;
Trace::Trace(Trace&&) noexcept = default;
Trace& Trace::operator=(Trace&&) noexcept = default;

LayerView sized_view(const TraceInfo& info, std::int64_t layer)
{
    LayerView view;
    view.layer = layer;
    view.shape = info.shape;
    view.seq_len = info.seq_len;
    view.window = info.window;
    view.eval_len = info.eval_len;
    if (!info.layer_windows.empty())
        view.sliding_window = info.layer_windows[static_cast<std::size_t>(layer)];
    for (const auto type : {StoreType::f16, StoreType::bf16})
        if (info.run_dtype == to_string(type))
            view.run_roundoff = roundoff_of(type);
    view.roundoff = view.run_roundoff; // numbers of a coarse run stay that in a finer type
    return view;
}

LayerView Trace::layer(std::int64_t layer) const
{
    if (layer < 0 || layer >= info_.shape.num_layers)
        throw Error(formatted("{}: layer: expected 0 to {}, found {}", info_.file, info_.shape.num_layers - 1, layer));
    const auto group = layer_group(file_->root, info_, layer);
    LayerView view = sized_view(info_, layer);
    for (const auto& dataset : layer_datasets()) {
        const bool is_empty = dataset.role == Role::evaluation && info_.eval_len == 0;
        if (is_empty || !group.has(dataset.name))
            continue;
        view.*dataset.tensor = read_tensor(group, dataset.name, dataset.extents(info_));
        auto& roundoff = dataset.role == Role::weight ? view.w_o_roundoff : view.roundoff;
        roundoff = std::max(roundoff, roundoff_of(check_tensor(group, dataset.name, dataset.extents(info_))));
    }
    return view;
}

at::Tensor Trace::logits() const
{
    if (!info_.has_logits)
        throw Error(info_.file + ": /logits: missing, expected a dataset");
    const std::int64_t extents[] = {info_.eval_len, info_.vocab_size};
    return read_tensor(file_->root, "logits", extents);
}

} // namespace lava
