#include "analysis/replay_report.h"

#include "analysis/closed_loop_file.h"
#include "analysis/quantities.h"
#include "analysis/report_checks.h"
#include "analysis/report_texts.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/hdf5/h5.h"
#include "base/output_file.h"

#include <iterator>
#include <limits>
#include <string_view>

namespace lava {

namespace {

constexpr std::string_view format_name = "lava-report";

// Writer and reader walk the same lists, so that a field cannot be written and forgotten.

template <typename Owner, typename Member> struct Field
{
    const char* name;
    Member Owner::*member;
};

constexpr Field<TraceInfo, std::string> trace_strings[] = {
    {"file", &TraceInfo::file},
    {"generator", &TraceInfo::generator},
    {"model_name", &TraceInfo::model_name},
    {"model_config", &TraceInfo::model_config},
    {"weights_sha256", &TraceInfo::weights_sha256},
    {"device", &TraceInfo::device},
    {"run_dtype", &TraceInfo::run_dtype},
    {"continuation", &TraceInfo::continuation},
    {"tokenization", &TraceInfo::tokenization},
};

constexpr std::string_view attn_out_at = "attn_out_at"; // absent where attn_out is what is added to the stream

constexpr Field<TraceInfo, std::int64_t> trace_numbers[] = {
    {"format_major", &TraceInfo::format_major},
    {"format_minor", &TraceInfo::format_minor},
    {"vocab_size", &TraceInfo::vocab_size},
    {"seq_len", &TraceInfo::seq_len},
    {"eval_len", &TraceInfo::eval_len},
    {"window", &TraceInfo::window},
};

constexpr Field<ModelShape, std::int64_t> shape_numbers[] = {
    {"num_layers", &ModelShape::num_layers},
    {"num_heads", &ModelShape::num_heads},
    {"num_kv_heads", &ModelShape::num_kv_heads},
    {"head_dim", &ModelShape::head_dim},
    {"hidden_size", &ModelShape::hidden_size},
};

constexpr Field<TraceInfo, bool> trace_flags[] = {
    {"has_losses", &TraceInfo::has_losses},
    {"has_outputs", &TraceInfo::has_outputs},
    {"has_observed_attention", &TraceInfo::has_observed_attention},
    {"has_logits", &TraceInfo::has_logits},
};

constexpr Field<PolicyReplay, std::string> policy_strings[] = {
    {"policy", &PolicyReplay::policy},
    {"name", &PolicyReplay::name},
    {"variant", &PolicyReplay::variant},
    {"match", &PolicyReplay::match},
};

constexpr Field<PolicyReplay, std::vector<std::int64_t>> grid_arrays[] = {
    // [G]
    {"asked", &PolicyReplay::asked},
    {"granted", &PolicyReplay::granted},
};

constexpr const char* store_types[] = {"f32", "f16", "bf16"}; // by StoreType

/// As many as there are layers or heads, or none.
std::vector<std::int64_t> read_numbers(const h5::Group& group, const std::string& name, std::int64_t count)
{
    return group.has(name) ? group.read<std::int64_t>(name, {count}) : std::vector<std::int64_t>{};
}

void write_trace(const h5::Group& group, const TraceInfo& trace)
{
    for (const auto& [name, member] : trace_strings)
        group.set_attribute(name, std::string_view(trace.*member));
    if (!trace.attn_out_at.empty())
        group.set_attribute(attn_out_at, trace.attn_out_at);
    for (const auto& [name, member] : trace_numbers)
        group.set_attribute(name, trace.*member);
    for (const auto& [name, member] : shape_numbers)
        group.set_attribute(name, trace.shape.*member);
    for (const auto& [name, member] : trace_flags)
        group.set_attribute(name, static_cast<std::int64_t>(trace.*member));
    group.set_attribute("store_type", std::string_view(store_types[static_cast<std::size_t>(trace.store_type)]));
    write_ids(group, "layer_numbers", trace.layer_numbers);
    write_ids(group, "kv_head_numbers", trace.kv_head_numbers);
    write_ids(group, "prompt_ids", trace.prompt_ids);
    write_texts(group, "prompt_texts", trace.prompt_texts);
    write_ids(group, "eval_ids", trace.eval_ids);
    write_texts(group, "eval_texts", trace.eval_texts);
    std::vector<std::string> names;
    std::vector<std::int64_t> bounds;
    for (const Span& span : trace.spans) {
        names.push_back(span.name);
        bounds.insert(bounds.end(), {span.begin, span.end});
    }
    write_texts(group, "span_names", names);
    if (!names.empty())
        group.write("spans", {static_cast<std::int64_t>(names.size()), 2}, bounds, packed);
}

StoreType read_store_type(const h5::Group& group)
{
    const std::string found = group.string_attribute("store_type");
    for (std::size_t i = 0; i < std::size(store_types); ++i) {
        if (found == store_types[i])
            return static_cast<StoreType>(i);
    }
    group.fail("", "attribute store_type: expected f32, f16 or bf16, found '" + found + "'");
}

std::vector<Span> read_spans(const h5::Group& group)
{
    const std::vector<std::string> names = read_texts(group, "span_names");
    if (names.empty())
        return {};
    const auto bounds = group.read<std::int64_t>("spans", {static_cast<std::int64_t>(names.size()), 2});
    std::vector<Span> spans;
    for (std::size_t i = 0; i < names.size(); ++i)
        spans.push_back({names[i], bounds[2 * i], bounds[2 * i + 1]});
    return spans;
}

TraceInfo read_trace(const h5::Group& group)
{
    TraceInfo trace;
    for (const auto& [name, member] : trace_strings)
        trace.*member = group.string_attribute(name);
    if (group.has_attribute(attn_out_at))
        trace.attn_out_at = group.string_attribute(attn_out_at);
    for (const auto& [name, member] : trace_numbers)
        trace.*member = group.int_attribute(name);
    for (const auto& [name, member] : shape_numbers)
        trace.shape.*member = group.int_attribute(name);
    for (const auto& [name, member] : trace_flags)
        trace.*member = group.int_attribute(name) != 0;
    trace.store_type = read_store_type(group);
    check_report_sizes(group.file(), trace);
    trace.layer_numbers = read_numbers(group, "layer_numbers", trace.shape.num_layers);
    trace.kv_head_numbers = read_numbers(group, "kv_head_numbers", trace.shape.num_kv_heads);
    trace.prompt_ids = read_ids(group, "prompt_ids");
    trace.prompt_texts = read_texts(group, "prompt_texts");
    trace.eval_ids = read_ids(group, "eval_ids");
    trace.eval_texts = read_texts(group, "eval_texts");
    trace.spans = read_spans(group);
    return trace;
}

void write_norms(const h5::Group& root, const ReplayReport& report)
{
    const h5::Group group = root.create_group("norms");
    for_each_loss([&](const auto& loss) {
        if (loss.has_norm() && (loss.needs != Needs::model || report.has_layer_outputs()))
            group.write(loss.name, loss_shape({}, loss.extent, report.trace), report.norms.*loss.array, packed);
    });
}

UncompressedNorms read_norms(const h5::Group& group, const TraceInfo& trace)
{
    UncompressedNorms norms;
    for_each_loss([&]<typename T>(const LossRow<T>& loss) {
        const bool may_be_absent = loss.may_be_absent || loss.needs == Needs::model;
        if (loss.has_norm() && (!may_be_absent || group.has(loss.name)))
            norms.*loss.array = group.read<T>(loss.name, loss_shape({}, loss.extent, trace));
    });
    return norms;
}

bool fits_u16(const TraceInfo& trace)
{
    return trace.seq_len <= std::numeric_limits<std::uint16_t>::max();
}

/// [R, L, H, N], or [L, H, N] where one ranking serves all budgets.
void write_ranking(const h5::Group& group, const TraceInfo& trace, const PolicyReplay& replay, std::int64_t heads,
    h5::WriteOptions options)
{
    std::vector<std::int64_t> shape{trace.shape.num_layers, heads, trace.seq_len};
    const auto each = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
    if (replay.ranking.size() != each)
        shape.insert(shape.begin(), static_cast<std::int64_t>(replay.ranking.size() / each));
    if (fits_u16(trace))
        group.write(
            "ranking", shape, std::vector<std::uint16_t>(replay.ranking.begin(), replay.ranking.end()), options);
    else {
        group.write_raw("ranking", h5::Type::u32, shape, replay.ranking.data(), options, [&](std::int64_t part) {
            const auto size = replay.ranking.size() / static_cast<std::size_t>(shape[0]);
            leave_memory(replay.ranking, static_cast<std::size_t>(part) * size, size);
        });
    }
}

LargeVector<std::uint32_t> read_ranking(
    const h5::Group& group, const TraceInfo& trace, std::int64_t heads, std::int64_t budgets)
{
    std::vector<std::int64_t> shape{trace.shape.num_layers, heads, trace.seq_len};
    if (group.info("ranking").shape.size() == 4)
        shape.insert(shape.begin(), budgets);
    if (!fits_u16(trace))
        return group.read<std::uint32_t, LargeAllocator<std::uint32_t>>("ranking", shape);
    const auto ranking = group.read<std::uint16_t>("ranking", shape);
    return {ranking.begin(), ranking.end()};
}

/// The value of an attribute that reports of version 1.0 lack.
std::int64_t attribute_or(const h5::Group& group, const char* name, std::int64_t otherwise)
{
    return group.has_attribute(name) ? group.int_attribute(name) : otherwise;
}

void write_policy(const h5::Group& group, const ReplayReport& report, const PolicyReplay& replay, Rankings rankings,
    h5::WriteOptions options)
{
    const TraceInfo& trace = report.trace;
    const ModelShape& shape = trace.shape;
    const auto grid = static_cast<std::int64_t>(replay.budgets.size());
    const auto heads = cache_heads(replay, trace);
    for (const auto& [name, member] : policy_strings)
        group.set_attribute(name, std::string_view(replay.*member));
    group.set_attribute("window", replay.window);
    group.set_attribute("cache_heads", heads);
    std::vector<std::string> parameters;
    for (const auto& [key, value] : replay.parameters)
        parameters.insert(parameters.end(), {key, value});
    write_texts(group, "parameters", parameters);
    group.write("budgets", {grid}, replay.budgets);
    for (const auto& [name, member] : grid_arrays)
        group.write(name, {grid}, replay.*member);
    group.write("nominal", {grid}, replay.nominal.empty() ? replay.budgets : replay.nominal);
    group.write("counts", {grid, shape.num_layers, heads}, replay.counts, options);
    if (rankings == Rankings::kept && replay.ranking_of >= 0)
        group.set_attribute("ranking_of", replay.ranking_of);
    else if (rankings == Rankings::kept && !replay.ranking.empty())
        write_ranking(group, trace, replay, heads, options);
    write_closed_loop(group, report, replay, options);
    if (!report.has_losses())
        return;
    for_each_loss([&](const auto& loss) {
        if (!(replay.*loss.array).empty())
            group.write(loss.name, loss_shape({grid}, loss.extent, trace), replay.*loss.array, options);
    });
}

std::vector<std::pair<std::string, std::string>> read_parameters(const h5::Group& group)
{
    const std::vector<std::string> texts = read_texts(group, "parameters");
    if (texts.size() % 2 != 0)
        group.fail("parameters_ends", formatted("expected names and values in turn, found {} texts", texts.size()));
    std::vector<std::pair<std::string, std::string>> parameters;
    for (std::size_t i = 0; i < texts.size(); i += 2)
        parameters.emplace_back(texts[i], texts[i + 1]);
    return parameters;
}

PolicyReplay read_policy(const h5::Group& group, const ReplayReport& report)
{
    const TraceInfo& trace = report.trace;
    const ModelShape& shape = trace.shape;
    PolicyReplay replay;
    for (const auto& [name, member] : policy_strings) {
        if (name != std::string_view("match") || group.has_attribute(name)) // reports of version 1.0 lack it
            replay.*member = group.string_attribute(name);
    }
    replay.window = group.int_attribute("window");
    replay.parameters = read_parameters(group);
    replay.budgets = group.read<std::int64_t>("budgets", {-1});
    const auto grid = static_cast<std::int64_t>(replay.budgets.size());
    for (const auto& [name, member] : grid_arrays)
        replay.*member = group.read<std::int64_t>(name, {grid});
    replay.nominal = group.has("nominal") ? group.read<std::int64_t>("nominal", {grid}) : replay.budgets;
    replay.cache_heads = attribute_or(group, "cache_heads", shape.num_kv_heads);
    if (replay.cache_heads != shape.num_kv_heads && replay.cache_heads != shape.num_heads)
        group.fail("",
            formatted("attribute cache_heads: expected {} or {}, found {}", shape.num_kv_heads, shape.num_heads,
                replay.cache_heads));
    replay.ranking_of = attribute_or(group, "ranking_of", -1);
    replay.counts = group.read<std::int64_t>("counts", {grid, shape.num_layers, replay.cache_heads});
    if (group.has("ranking"))
        replay.ranking = read_ranking(group, trace, replay.cache_heads, grid);
    read_closed_loop(group, report, replay);
    if (!report.has_losses())
        return replay;
    for_each_loss([&]<typename T>(const LossRow<T>& loss) {
        const bool is_expected = loss.needs != Needs::model || report.has_layer_outputs();
        if (is_expected && ((!loss.is_bound() && !loss.may_be_absent) || group.has(loss.name)))
            replay.*loss.array = group.read<T>(loss.name, loss_shape({grid}, loss.extent, trace));
    });
    return replay;
}

void check_format(const h5::Group& root)
{
    const std::string found = root.has_attribute("format") ? root.string_attribute("format") : "none";
    if (found != format_name)
        throw Error(root.file() + ": not a report: expected format " + std::string(format_name) + ", found " + found);
    const std::int64_t major = root.int_attribute("format_major");
    if (major != report_format_major)
        throw Error(formatted("{}: format version: expected {}.x, found {}.{}{}", root.file(), report_format_major,
            major, root.int_attribute("format_minor"),
            major > report_format_major ? "; a newer version of the toolkit wrote it" : ""));
}

std::vector<PolicyReplay> read_policies(const h5::Group& root, const ReplayReport& report)
{
    const h5::Group group = root.group("policies");
    const std::size_t count = group.names().size();
    std::vector<PolicyReplay> policies;
    for (std::size_t i = 0; i < count; ++i)
        policies.push_back(read_policy(group.group(policy_name(i)), report));
    return policies;
}

void write_root(const h5::Group& root, const ReplayReport& report, Rankings rankings, int threads)
{
    const h5::WriteOptions options{.deflate = packed.deflate, .threads = threads};
    root.set_attribute("format", format_name);
    root.set_attribute("format_major", report_format_major);
    root.set_attribute("format_minor", report_format_minor);
    root.set_attribute("generator", std::string_view(report.generator));
    write_trace(root.create_group("trace"), report.trace);
    if (!report.deviations.empty())
        root.write("deviations", {report.trace.shape.num_layers}, report.deviations);
    if (report.has_losses())
        write_norms(root, report);
    write_closed_loop(root, report);
    const h5::Group policies = root.create_group("policies");
    for (std::size_t i = 0; i < report.policies.size(); ++i)
        write_policy(policies.create_group(policy_name(i)), report, report.policies[i], rankings, options);
    root.seal();
    root.flush();
}

const PolicyReplay& ranking_owner(const std::vector<PolicyReplay>& policies, std::size_t policy)
{
    const std::int64_t owner = policies[policy].ranking_of;
    return policies[owner < 0 ? policy : static_cast<std::size_t>(owner)];
}

} // namespace

std::int64_t cache_heads(const PolicyReplay& replay, const TraceInfo& trace)
{
    return replay.cache_heads == 0 ? trace.shape.num_kv_heads : replay.cache_heads;
}

std::int64_t ReplayReport::cache_heads(std::size_t policy) const
{
    return lava::cache_heads(policies[policy], trace);
}

bool ReplayReport::has_ranking(std::size_t policy) const
{
    return !ranking_owner(policies, policy).ranking.empty();
}

bool ReplayReport::ranks_by_budget(std::size_t policy) const
{
    const PolicyReplay& owner = ranking_owner(policies, policy);
    const std::int64_t each = trace.shape.num_layers * cache_heads(policy) * trace.seq_len;
    return static_cast<std::int64_t>(owner.ranking.size()) > each;
}

std::span<const std::uint32_t> ReplayReport::ranking(std::size_t policy, std::size_t budget, std::int64_t layer) const
{
    const PolicyReplay& owner = ranking_owner(policies, policy);
    if (owner.ranking.empty())
        throw Error(file + ": " + policies[policy].policy
            + ": the report keeps no rankings, so it does not say which entries stay");
    if (layer < 0 || layer >= trace.shape.num_layers || budget >= policies[policy].budgets.size())
        throw Error(formatted("{}: {}: expected layer 0 to {} and budget 0 to {}, found layer {} and budget {}", file,
            policies[policy].policy, trace.shape.num_layers - 1, policies[policy].budgets.size() - 1, layer, budget));
    const auto layer_size = static_cast<std::size_t>(cache_heads(policy) * trace.seq_len);
    const auto layers = static_cast<std::size_t>(trace.shape.num_layers);
    const std::size_t first = (ranks_by_budget(policy) ? budget * layers : 0) + static_cast<std::size_t>(layer);
    return std::span(owner.ranking).subspan(first * layer_size, layer_size);
}

void write_report(const std::filesystem::path& file, const ReplayReport& report, Rankings rankings, int threads)
{
    check_report(file, report);
    OutputFile output(file);
    write_root(h5::Group::create_file(output.part(), file), report, rankings,
        threads); // the file is closed before it is renamed
    output.commit();
}

ReplayReport read_report(const std::filesystem::path& file)
{
    const h5::Group root = h5::Group::open_file(file);
    check_format(root);
    ReplayReport report;
    report.file = file.string();
    report.generator = root.string_attribute("generator");
    report.trace = read_trace(root.group("trace"));
    if (root.has("deviations"))
        report.deviations = root.read<double>("deviations", {report.trace.shape.num_layers});
    if (root.has("norms"))
        report.norms = read_norms(root.group("norms"), report.trace);
    read_closed_loop(root, report);
    report.policies = read_policies(root, report);
    check_report(file, report);
    return report;
}

} // namespace lava
