#include "traces/trace_writer.h"

#include "base/formatted.h"
#include "base/output_file.h"
#include "traces/layer_datasets.h"
#include "traces/stored_tensor.h"
#include "traces/trace_metadata.h"
#include "traces/weights_file.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <numeric>
#include <optional>
#include <set>

namespace lava {

namespace {

/// Where W_O and b_o go when they get a file of their own.
struct WeightsOutput
{
    std::optional<OutputFile> output; // none where an existing file is used; before `root`, which must close first
    std::optional<h5::Group> root;
    std::string link; // relative to the trace's folder
    bool has_weights = false;
};

/// Which datasets a layer has; all layers must have the same.
using Contents = std::set<std::string_view>;

/// The datasets of the steps or of the prompt, and the layers that have them already.
struct Part
{
    bool of_steps;
    std::set<std::int64_t> written;
    std::optional<Contents> contents;

    bool has(const LayerDataset& dataset) const { return (dataset.role == Role::evaluation) == of_steps; }
};

Contents contents_of(const LayerView& view, const Part& part)
{
    Contents names;
    for (const auto& dataset : layer_datasets())
        if (part.has(dataset) && (view.*dataset.tensor).defined())
            names.insert(dataset.name);
    return names;
}

std::string joined(const Contents& names)
{
    std::string text;
    for (const auto name : names)
        text += (text.empty() ? "" : ", ") + std::string(name);
    return text;
}

} // namespace

std::int64_t bytes_of_layers(const TraceInfo& info, StoreType store, const std::set<std::string_view>& contents)
{
    std::int64_t bytes = 0;
    for (const auto& dataset : layer_datasets()) {
        if (!contents.contains(dataset.name))
            continue;
        const auto extents = dataset.extents(info);
        const std::int64_t size = dataset.role == Role::statistic || store == StoreType::f32 ? 4 : 2;
        bytes += std::accumulate(extents.begin(), extents.end(), size, std::multiplies<>());
    }
    return bytes * info.shape.num_layers;
}

struct TraceWriter::State
{
    TraceInfo info;
    Options options;
    std::filesystem::path file;
    OutputFile output; // before the groups: they close first
    std::optional<WeightsOutput> weights;
    std::optional<h5::Group> root;
    std::optional<h5::Group> layers;
    Part prompt{.of_steps = false, .written = {}, .contents = {}},
        evaluation{.of_steps = true, .written = {}, .contents = {}};

    State(std::filesystem::path target, const TraceInfo& trace_info, Options writer_options)
        : info(trace_info)
        , options(std::move(writer_options))
        , file(std::move(target))
        , output(file)
    { }

    void open_weights();
    void finish_weights();
    void check_precision() const;
    void check_layer(const LayerView& view, const Part& part) const;
    void write_part(const LayerView& view, Part& part);
    void write_weight(const h5::Group& group, const LayerDataset& dataset, const LayerView& view);
};

/// Early, so that a long capture does not end in the discovery that the file belongs to another model.
void TraceWriter::State::open_weights()
{
    const auto& path = options.weights_file;
    if (path.empty())
        return;
    if (info.weights_sha256.empty())
        throw Error(path.string() + ": a weights file needs the checkpoint's weights_sha256, found none");
    const auto real = std::filesystem::weakly_canonical(std::filesystem::absolute(path));
    if (real == std::filesystem::weakly_canonical(std::filesystem::absolute(file)))
        throw UsageError(path.string() + ": expected a weights file beside the trace, found the trace itself");
    weights.emplace();
    weights->link = real.lexically_relative(output.part().parent_path()).string();
    if (std::filesystem::exists(path)) {
        check_weights_file(path, info);
        weights->root = h5::Group::open_file(path);
        check_precision();
        return;
    }
    weights->output.emplace(path);
    weights->root = h5::Group::create_file(weights->output->part(), path);
    write_weights_metadata(*weights->root, info);
    weights->root->create_group("layers");
}

/// A coarser W_O would be the coarsest part of the trace, and nothing would say so.
void TraceWriter::State::check_precision() const
{
    const auto name = "layers/" + layer_name(0, info.shape.num_layers) + "/w_o";
    if (!weights->root->has(name))
        return; // said where it is needed
    const std::int64_t extents[] = {info.shape.hidden_size, info.shape.num_heads * info.shape.head_dim};
    const auto found = check_tensor(*weights->root, name, extents);
    if (roundoff_of(found) > roundoff_of(options.store))
        weights->root->fail(name,
            "expected " + std::string(to_string(options.store)) + ", as the trace is to be stored, or finer, found "
                + std::string(to_string(found)) + ": store the trace as that, or name or make another weights file");
}

void TraceWriter::State::check_layer(const LayerView& view, const Part& part) const
{
    const auto name = "/layers/" + layer_name(view.layer, info.shape.num_layers);
    if (view.layer < 0 || view.layer >= info.shape.num_layers)
        throw Error(formatted("{}: {}: expected layers 0 to {}", file.string(), name, info.shape.num_layers - 1));
    if (part.written.contains(view.layer))
        throw Error(file.string() + ": " + name + ": expected each layer once, found it twice");
    for (const auto& dataset : layer_datasets()) {
        if (!part.has(dataset))
            continue;
        const auto& tensor = view.*dataset.tensor;
        const auto where = file.string() + ": " + name + "/" + std::string(dataset.name);
        if (!tensor.defined() && dataset.role == Role::required)
            throw Error(where + ": missing, expected a tensor");
        if (tensor.defined() && !tensor.is_floating_point())
            throw Error(where + ": expected floating-point numbers");
        const auto extents = dataset.extents(info);
        if (tensor.defined() && tensor.sizes() != at::IntArrayRef(extents))
            throw Error(where + ": expected " + h5::to_string(extents) + ", found "
                + h5::to_string({tensor.sizes().data(), tensor.sizes().size()}));
    }
    if (const auto here = contents_of(view, part); part.contents && here != *part.contents)
        throw Error(file.string() + ": " + name + ": expected all layers alike, " + joined(*part.contents) + ", found "
            + joined(here));
}

void TraceWriter::State::write_weight(const h5::Group& group, const LayerDataset& dataset, const LayerView& view)
{
    const auto name = layer_name(view.layer, info.shape.num_layers);
    if (weights->output) {
        const auto folder = weights->root->group("layers");
        const auto target = folder.has(name) ? folder.group(name) : folder.create_group(name);
        write_tensor(target, dataset.name, view.*dataset.tensor, options.store, options.deflate);
        weights->has_weights = true;
    } else {
        check_tensor(weights->root->group("layers/" + name), dataset.name, dataset.extents(info));
    }
    group.link_external(dataset.name, weights->link, "/layers/" + name + "/" + std::string(dataset.name));
}

void TraceWriter::State::write_part(const LayerView& view, Part& part)
{
    check_layer(view, part);
    const auto name = layer_name(view.layer, info.shape.num_layers);
    const auto group = layers->has(name) ? layers->group(name) : layers->create_group(name);
    for (const auto& dataset : layer_datasets()) {
        const auto& tensor = view.*dataset.tensor;
        if (!part.has(dataset) || !tensor.defined())
            continue;
        if (dataset.role == Role::weight && weights) {
            write_weight(group, dataset, view);
            continue;
        }
        const auto store = dataset.role == Role::statistic ? StoreType::f32 : options.store;
        write_tensor(group, dataset.name, tensor, store, options.deflate);
    }
    part.written.insert(view.layer);
    part.contents = contents_of(view, part);
    output.begin_writing();
}

/// Puts the weights file in place. Where several processes write the same weights, the first one's file stays and the
/// others link to it.
void TraceWriter::State::finish_weights()
{
    if (!weights || !weights->output || !weights->has_weights)
        return;
    weights->root->seal();
    weights->root->flush();
    weights->root.reset();
    if (weights->output->commit_if_absent())
        return;
    weights->output.reset();
    const auto& path = options.weights_file;
    check_weights_file(path, info);
    const auto found = h5::Group::open_file(path);
    for (const auto& dataset : layer_datasets()) {
        if (dataset.role == Role::weight && prompt.contents->contains(dataset.name))
            for (std::int64_t layer = 0; layer < info.shape.num_layers; ++layer)
                check_tensor(found.group("layers/" + layer_name(layer, info.shape.num_layers)), dataset.name,
                    dataset.extents(info));
    }
}

TraceWriter::TraceWriter(std::filesystem::path file, const TraceInfo& info, Options options)
{
    check_metadata(info, file.string());
    state_ = std::make_unique<State>(std::move(file), info, std::move(options));
    state_->open_weights();
    state_->root = h5::Group::create_file(state_->output.part(), state_->file);
    write_metadata(*state_->root, info);
    state_->layers = state_->root->create_group("layers");
}

TraceWriter::~TraceWriter() = default;

void TraceWriter::write_layer(const LayerView& view)
{
    write_prompt(view);
    write_evaluation(view);
}

void TraceWriter::write_prompt(const LayerView& view)
{
    state_->write_part(view, state_->prompt);
}

void TraceWriter::write_evaluation(const LayerView& view)
{
    state_->write_part(view, state_->evaluation);
}

void TraceWriter::set_evaluation_tokens(std::vector<std::int64_t> ids, std::vector<std::string> texts)
{
    state_->info.eval_ids = std::move(ids);
    state_->info.eval_texts = std::move(texts);
    check_metadata(state_->info, state_->file.string());
}

void TraceWriter::set_next_id(std::int64_t id)
{
    state_->info.next_id = id;
    check_metadata(state_->info, state_->file.string());
}

void TraceWriter::write_logits(const at::Tensor& logits)
{
    const std::int64_t extents[] = {state_->info.eval_len, state_->info.vocab_size};
    if (logits.sizes() != at::IntArrayRef(extents))
        state_->root->fail("logits",
            "expected " + h5::to_string(extents) + ", found "
                + h5::to_string({logits.sizes().data(), logits.sizes().size()}));
    write_tensor(*state_->root, "logits", logits, StoreType::f32, state_->options.deflate);
}

void TraceWriter::finish()
{
    for (const auto* part : {&state_->prompt, &state_->evaluation})
        if (const auto found = std::ssize(part->written); found != state_->info.shape.num_layers)
            throw Error(formatted("{}: /layers: expected {} layers, found {}{}", state_->file.string(),
                state_->info.shape.num_layers, found, part->of_steps ? " with their evaluation steps" : ""));
    write_tokens(*state_->root, state_->info);
    state_->finish_weights();
    state_->root->seal();
    state_->root->flush();
    state_->layers.reset();
    state_->root.reset();
    state_->output.commit();
}

} // namespace lava
