#include "traces/trace_metadata.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

namespace lava {

namespace {

constexpr std::int64_t largest_size = std::numeric_limits<std::int32_t>::max();

std::string optional_string(const h5::Group& group, std::string_view name)
{
    return group.has_attribute(name) ? group.string_attribute(name) : std::string();
}

std::int64_t optional_int(const h5::Group& group, std::string_view name)
{
    return group.has_attribute(name) ? group.int_attribute(name) : 0;
}

void check_size(const std::string& file, const char* name, std::int64_t value, std::int64_t smallest)
{
    if (value < smallest || value > largest_size)
        throw Error(formatted("{}: {}: expected {} to {}, found {}", file, name, smallest, largest_size, value));
}

void check_sizes(const TraceInfo& info, const std::string& file)
{
    check_size(file, "/model: num_layers", info.shape.num_layers, 1);
    check_size(file, "/model: num_heads", info.shape.num_heads, 1);
    check_size(file, "/model: num_kv_heads", info.shape.num_kv_heads, 1);
    check_size(file, "/model: head_dim", info.shape.head_dim, 1);
    check_size(file, "/model: hidden_size", info.shape.hidden_size, 0);
    check_size(file, "/model: vocab_size", info.vocab_size, 0);
    check_size(file, "/run: seq_len", info.seq_len, 1);
    check_size(file, "/run: eval_len", info.eval_len, 0);
    check_size(file, "/run: window", info.window, 1);
    if (info.shape.num_heads % info.shape.num_kv_heads != 0)
        throw Error(formatted("{}: /model: num_heads: expected a multiple of num_kv_heads, {}, found {}", file,
            info.shape.num_kv_heads, info.shape.num_heads));
    if (info.window > info.seq_len)
        throw Error(
            formatted("{}: /run: window: expected at most seq_len, {}, found {}", file, info.seq_len, info.window));
}

void check_count(
    const std::string& file, const char* name, std::size_t found, std::int64_t expected, const char* of_what)
{
    if (found != 0 && static_cast<std::int64_t>(found) != expected)
        throw Error(formatted("{}: {}: expected as many as {}, {}, found {}", file, name, of_what, expected, found));
}

void check_next_id(const TraceInfo& info, const std::string& file)
{
    if (info.next_id < -1 || (info.vocab_size > 0 && info.next_id >= info.vocab_size))
        throw Error(formatted("{}: /tokens/next_id: expected an id{}, found {}", file,
            info.vocab_size > 0 ? formatted(" below vocab_size, {}", info.vocab_size) : "", info.next_id));
    if (info.next_id >= 0 && info.continuation == "greedy" && !info.eval_ids.empty()
        && info.eval_ids.front() != info.next_id)
        throw Error(
            formatted("{}: /tokens/eval_ids: expected a greedy continuation to start with next_id, {}, found {}", file,
                info.next_id, info.eval_ids.front()));
}

void check_spans(const TraceInfo& info, const std::string& file)
{
    for (const auto& span : info.spans)
        if (span.begin < 0 || span.begin >= span.end || span.end > info.seq_len)
            throw Error(formatted("{}: /spans: {}: expected tokens within [0, {}), at least one, found [{}, {})", file,
                span.name, info.seq_len, span.begin, span.end));
}

void check_rope(const TraceInfo& info, const std::string& file)
{
    if (const auto found = static_cast<std::int64_t>(info.rope_inv_freq.size()); found > info.shape.head_dim / 2)
        throw Error(formatted("{}: /model/rope_inv_freq: expected at most head_dim / 2 numbers, {}, found {}", file,
            info.shape.head_dim / 2, found));
    for (std::size_t i = 0; i < info.rope_inv_freq.size(); ++i)
        if (!std::isfinite(info.rope_inv_freq[i]))
            throw Error(formatted("{}: /model/rope_inv_freq: expected finite numbers, found {:f} at [{}]", file,
                info.rope_inv_freq[i], i));
    if (!std::isfinite(info.rope_attention_scaling) || info.rope_attention_scaling <= 0)
        throw Error(formatted("{}: /model: rope_attention_scaling: expected a number above 0, found {:f}", file,
            info.rope_attention_scaling));
}

void check_numbers(const std::vector<std::int64_t>& numbers, const std::string& where)
{
    for (std::size_t i = 0; i < numbers.size(); ++i)
        if (numbers[i] < 0 || numbers[i] > largest_size || (i > 0 && numbers[i] <= numbers[i - 1]))
            throw Error(formatted("{}: expected ascending numbers from 0 on, found {} at [{}]", where, numbers[i], i));
}

void check_part(const TraceInfo& info, const std::string& file)
{
    check_count(file, "/model/layer_numbers", info.layer_numbers.size(), info.shape.num_layers, "num_layers");
    check_count(file, "/model/kv_head_numbers", info.kv_head_numbers.size(), info.shape.num_kv_heads, "num_kv_heads");
    check_numbers(info.layer_numbers, file + ": /model/layer_numbers");
    check_numbers(info.kv_head_numbers, file + ": /model/kv_head_numbers");
}

void check_windows(const TraceInfo& info, const std::string& file)
{
    check_count(file, "/model/layer_windows", info.layer_windows.size(), info.shape.num_layers, "num_layers");
    for (const auto window : info.layer_windows)
        check_size(file, "/model/layer_windows", window, 0);
}

/// Cuts `bytes` at `offsets`; appends `count` texts from entry `first` on.
std::vector<std::string> cut_texts(const std::vector<std::uint8_t>& bytes, const std::vector<std::int64_t>& offsets,
    std::size_t first, std::size_t count)
{
    std::vector<std::string> texts;
    texts.reserve(count);
    for (std::size_t i = first; i < first + count; ++i)
        texts.emplace_back(bytes.begin() + offsets[i], bytes.begin() + offsets[i + 1]);
    return texts;
}

void check_offsets(const h5::Group& tokens, const std::vector<std::int64_t>& offsets, std::size_t num_bytes)
{
    if (offsets.front() != 0 || offsets.back() != static_cast<std::int64_t>(num_bytes))
        tokens.fail("text_offsets",
            formatted("expected 0 to the size of text_bytes, {}, found {} to {}", num_bytes, offsets.front(),
                offsets.back()));
    for (std::size_t i = 1; i < offsets.size(); ++i)
        if (offsets[i] < offsets[i - 1])
            tokens.fail(
                "text_offsets", formatted("expected ascending offsets, found {} after {}", offsets[i], offsets[i - 1]));
}

void read_texts(const h5::Group& tokens, TraceInfo& info)
{
    if (!tokens.has("text_bytes") && !tokens.has("text_offsets"))
        return;
    const auto bytes = tokens.read<std::uint8_t>("text_bytes", {-1});
    const auto found = tokens.info("text_offsets").shape;
    const bool prompt_only = found == std::vector<std::int64_t>{info.seq_len + 1};
    const auto count = prompt_only ? info.seq_len : info.seq_len + info.eval_len;
    const auto offsets = tokens.read<std::int64_t>("text_offsets", {count + 1});
    check_offsets(tokens, offsets, bytes.size());
    info.prompt_texts = cut_texts(bytes, offsets, 0, static_cast<std::size_t>(info.seq_len));
    if (!prompt_only)
        info.eval_texts = cut_texts(
            bytes, offsets, static_cast<std::size_t>(info.seq_len), static_cast<std::size_t>(info.eval_len));
}

void read_tokens(const h5::Group& root, TraceInfo& info)
{
    if (!root.has("tokens"))
        return;
    const auto tokens = root.group("tokens");
    if (tokens.has("prompt_ids"))
        info.prompt_ids = tokens.read<std::int64_t>("prompt_ids", {info.seq_len});
    if (tokens.has("eval_ids"))
        info.eval_ids = tokens.read<std::int64_t>("eval_ids", {info.eval_len});
    if (tokens.has("next_id")) {
        info.next_id = tokens.read<std::int64_t>("next_id", {1}).front();
        if (info.next_id < 0)
            tokens.fail("next_id", formatted("expected an id of at least 0, found {}", info.next_id));
    }
    read_texts(tokens, info);
}

void read_rope(const h5::Group& model, TraceInfo& info)
{
    if (model.has("rope_inv_freq"))
        info.rope_inv_freq = model.read<double>("rope_inv_freq", {-1});
    if (model.has_attribute("rope_attention_scaling"))
        info.rope_attention_scaling = model.float_attribute("rope_attention_scaling");
}

void read_numbers(const h5::Group& model, TraceInfo& info)
{
    if (model.has("layer_numbers"))
        info.layer_numbers = model.read<std::int64_t>("layer_numbers", {-1});
    if (model.has("kv_head_numbers"))
        info.kv_head_numbers = model.read<std::int64_t>("kv_head_numbers", {-1});
    if (model.has("layer_windows"))
        info.layer_windows = model.read<std::int64_t>("layer_windows", {-1});
}

void read_spans(const h5::Group& root, TraceInfo& info)
{
    if (!root.has("spans"))
        return;
    const auto bounds = root.read<std::int64_t>("spans", {-1, 2});
    const auto names = parse_json(root.dataset_attribute("spans", "names"), info.file + ": /spans: attribute names");
    if (!names.is_array() || names.size() * 2 != bounds.size())
        root.fail("spans", formatted("attribute names: expected a JSON array of {} strings", bounds.size() / 2));
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (!names[i].is_string())
            root.fail("spans", "attribute names: expected strings, found " + names[i].dump());
        info.spans.push_back({names[i].get<std::string>(), bounds[2 * i], bounds[2 * i + 1]});
    }
}

void write_texts(const h5::Group& tokens, const TraceInfo& info)
{
    std::vector<std::uint8_t> bytes;
    std::vector<std::int64_t> offsets = {0};
    for (const auto* texts : {&info.prompt_texts, &info.eval_texts}) {
        for (const auto& text : *texts) {
            bytes.insert(bytes.end(), text.begin(), text.end());
            offsets.push_back(static_cast<std::int64_t>(bytes.size()));
        }
    }
    tokens.write("text_bytes", {static_cast<std::int64_t>(bytes.size())}, bytes);
    tokens.write("text_offsets", {static_cast<std::int64_t>(offsets.size())}, offsets);
}

void write_spans(const h5::Group& root, const TraceInfo& info)
{
    std::vector<std::int64_t> bounds;
    auto names = nlohmann::json::array();
    for (const auto& span : info.spans) {
        names.push_back(span.name);
        bounds.insert(bounds.end(), {span.begin, span.end});
    }
    root.write("spans", {static_cast<std::int64_t>(info.spans.size()), 2}, bounds);
    root.set_dataset_attribute("spans", "names", names.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

} // namespace

void check_metadata(const TraceInfo& info, const std::string& file)
{
    check_sizes(info, file);
    check_count(file, "/tokens/prompt_ids", info.prompt_ids.size(), info.seq_len, "seq_len");
    check_count(file, "/tokens/eval_ids", info.eval_ids.size(), info.eval_len, "eval_len");
    check_count(file, "/tokens/text_offsets: texts of the prompt", info.prompt_texts.size(), info.seq_len, "seq_len");
    check_count(file, "/tokens/text_offsets: texts of the steps", info.eval_texts.size(), info.eval_len, "eval_len");
    if (!info.eval_texts.empty() && info.prompt_texts.empty())
        throw Error(file + ": /tokens/text_offsets: expected the prompt's texts before those of the steps");
    check_next_id(info, file);
    check_spans(info, file);
    check_rope(info, file);
    check_part(info, file);
    check_windows(info, file);
}

void check_format(const h5::Group& root, const std::string& format)
{
    if (!root.has_attribute("format"))
        throw Error(root.file() + ": attribute format: expected " + format + ", found none");
    if (const auto found = root.string_attribute("format"); found != format)
        throw Error(root.file() + ": attribute format: expected " + format + ", found " + found);
    const auto major = root.int_attribute("format_major");
    const auto minor = optional_int(root, "format_minor");
    const auto ours = formatted("{}.{}", trace_format_major, trace_format_minor);
    const auto theirs = formatted("{}.{}", major, minor);
    if (major > trace_format_major)
        throw Error(root.file() + ": format version " + theirs + " is newer than " + ours
            + ", the newest that this program reads");
    if (major < 1)
        throw Error(formatted(
            "{}: attribute format_major: expected 1 to {}, found {}", root.file(), trace_format_major, major));
}

void write_format(const h5::Group& root, const std::string& format)
{
    root.set_attribute("format", format);
    root.set_attribute("format_major", trace_format_major);
    root.set_attribute("format_minor", trace_format_minor);
}

TraceInfo read_metadata(const h5::Group& root)
{
    check_format(root, "lava-trace");
    TraceInfo info;
    info.file = root.file();
    info.format_major = root.int_attribute("format_major");
    info.format_minor = optional_int(root, "format_minor");
    info.generator = optional_string(root, "generator");
    const auto model = root.group("model");
    info.model_name = optional_string(model, "name");
    info.model_config = optional_string(model, "config");
    info.weights_sha256 = optional_string(model, "weights_sha256");
    info.attn_out_at = optional_string(model, "attn_out_at");
    info.shape.num_layers = model.int_attribute("num_layers");
    info.shape.num_heads = model.int_attribute("num_heads");
    info.shape.num_kv_heads = model.int_attribute("num_kv_heads");
    info.shape.head_dim = model.int_attribute("head_dim");
    info.shape.hidden_size = optional_int(model, "hidden_size");
    info.vocab_size = optional_int(model, "vocab_size");
    read_rope(model, info);
    read_numbers(model, info);
    const auto run = root.group("run");
    info.device = optional_string(run, "device");
    info.run_dtype = optional_string(run, "dtype");
    info.continuation = optional_string(run, "continuation");
    info.tokenization = optional_string(run, "tokenization");
    info.seq_len = run.int_attribute("seq_len");
    info.eval_len = run.int_attribute("eval_len");
    info.window = run.int_attribute("window");
    check_sizes(info, info.file); // before any of them is used
    read_tokens(root, info);
    read_spans(root, info);
    check_metadata(info, info.file);
    return info;
}

void write_metadata(const h5::Group& root, const TraceInfo& info)
{
    write_format(root, "lava-trace");
    root.set_attribute("generator", info.generator);
    const auto model = root.create_group("model");
    model.set_attribute("name", info.model_name);
    model.set_attribute("config", info.model_config);
    model.set_attribute("weights_sha256", info.weights_sha256);
    if (!info.attn_out_at.empty())
        model.set_attribute("attn_out_at", info.attn_out_at);
    model.set_attribute("num_layers", info.shape.num_layers);
    model.set_attribute("num_heads", info.shape.num_heads);
    model.set_attribute("num_kv_heads", info.shape.num_kv_heads);
    model.set_attribute("head_dim", info.shape.head_dim);
    model.set_attribute("hidden_size", info.shape.hidden_size);
    model.set_attribute("vocab_size", info.vocab_size);
    if (!info.rope_inv_freq.empty()) {
        model.write("rope_inv_freq", {static_cast<std::int64_t>(info.rope_inv_freq.size())}, info.rope_inv_freq);
        model.set_attribute("rope_attention_scaling", info.rope_attention_scaling);
    }
    if (!info.layer_numbers.empty())
        model.write("layer_numbers", {info.shape.num_layers}, info.layer_numbers);
    if (!info.kv_head_numbers.empty())
        model.write("kv_head_numbers", {info.shape.num_kv_heads}, info.kv_head_numbers);
    if (!info.layer_windows.empty())
        model.write("layer_windows", {info.shape.num_layers}, info.layer_windows);
    const auto run = root.create_group("run");
    run.set_attribute("device", info.device);
    run.set_attribute("dtype", info.run_dtype);
    run.set_attribute("continuation", info.continuation);
    run.set_attribute("tokenization", info.tokenization);
    run.set_attribute("seq_len", info.seq_len);
    run.set_attribute("eval_len", info.eval_len);
    run.set_attribute("window", info.window);
}

void write_tokens(const h5::Group& root, const TraceInfo& info)
{
    const auto tokens = root.create_group("tokens");
    if (!info.prompt_ids.empty())
        tokens.write("prompt_ids", {info.seq_len}, info.prompt_ids);
    if (!info.eval_ids.empty())
        tokens.write("eval_ids", {info.eval_len}, info.eval_ids);
    if (info.next_id >= 0)
        tokens.write("next_id", {1}, std::vector<std::int64_t>{info.next_id});
    if (!info.prompt_texts.empty())
        write_texts(tokens, info);
    if (!info.spans.empty())
        write_spans(root, info);
}

} // namespace lava
