#include "traces/options.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/program.h"

#include <boost/program_options.hpp>

#include <charconv>
#include <sstream>

namespace lava {

namespace {

namespace po = boost::program_options;

constexpr const char* overview = R"(Usage: lava-trace COMMAND [options]
Looks into traces, the recorded runs that lava-replay reads. It says what a trace is, recomputes its attention outputs, prints its numbers and generates synthetic ones.

Commands:
  info TRACE            what was recorded, of which model and run
  verify TRACE          recompute attn_out with the full cache and compare it with the recorded one
  print FILE DATASET    numbers of a dataset, such as layers/03/k
  synth -o TRACE        write a synthetic trace of any shape

  lava-trace COMMAND --help tells more; --version prints the version.
)";

constexpr const char* info_help = R"(Usage: lava-trace info [options] TRACE
Says what a trace holds: model, run, tokens, spans and which tensors were recorded. Opening it checks version, types and shapes.
)";

constexpr const char* verify_help = R"(Usage: lava-trace verify [options] TRACE
Recomputes the attention output of every evaluation step with the full cache and compares it with the recorded one. Checks what policies score with, too, as far as the trace holds what it follows from: the window's queries against the column sums, the query statistics, the residual stream. Exit status 1 where a layer deviates by more than rounding to the stored types can explain.
)";

constexpr const char* print_help = R"(Usage: lava-trace print [options] FILE DATASET
Prints the numbers of one dataset, one line per row of its last axis. FILE may be any of the toolkit's HDF5 files; bfloat16 is decoded.
)";

constexpr const char* synth_help = R"(Usage: lava-trace synth [options] -o TRACE
Writes a synthetic trace with attention sinks, heavy hitters and a temperature and value scale per head. The same options give the same trace.
)";

/// Two options that every command has.
po::options_description with_help(const std::string& caption)
{
    po::options_description options(caption);
    options.add_options()("help,h", "this text");
    return options;
}

std::string help_text(const char* head, const po::options_description& visible, const char* example)
{
    std::ostringstream text;
    text << head << '\n' << visible << "\nExample:\n  " << example << '\n';
    return text.str();
}

po::variables_map parse(const std::vector<std::string>& arguments, const po::options_description& options,
    const std::vector<std::string>& positional)
{
    auto all = po::options_description();
    all.add(options);
    po::positional_options_description positions;
    for (const auto& name : positional) {
        all.add_options()(name.c_str(), po::value<std::string>());
        positions.add(name.c_str(), 1);
    }
    using namespace po::command_line_style;
    po::variables_map values;
    try {
        po::store(po::command_line_parser(arguments)
                      .options(all)
                      .positional(positions)
                      .style(unix_style & ~allow_guessing)
                      .run(),
            values);
        po::notify(values);
    } catch (const po::too_many_positional_options_error&) {
        throw UsageError(formatted("expected no more than {} arguments", positional.size()));
    } catch (const po::error& error) {
        throw UsageError(error.what());
    }
    return values;
}

std::string required(const po::variables_map& values, const char* name, const char* shown)
{
    if (values.count(name) == 0 || values[name].as<std::string>().empty())
        throw UsageError(std::string("expected ") + shown);
    return values[name].as<std::string>();
}

Command parse_info(const std::vector<std::string>& arguments)
{
    auto options = with_help("Options");
    options.add_options()("json", "as JSON")("check", "read every number; NaN and infinity are errors");
    const auto values = parse(arguments, options, {"trace"});
    if (values.count("help") != 0)
        return PrintText{help_text(info_help, options, "lava-trace info story.h5 --check")};
    return InfoCommand{required(values, "trace", "a trace"), values.count("json") != 0, values.count("check") != 0};
}

Command parse_verify(const std::vector<std::string>& arguments)
{
    auto options = with_help("Options");
    options.add_options()("json", "as JSON");
    const auto values = parse(arguments, options, {"trace"});
    if (values.count("help") != 0)
        return PrintText{help_text(verify_help, options, "lava-trace verify story.h5")};
    return VerifyCommand{required(values, "trace", "a trace"), values.count("json") != 0};
}

std::optional<std::int64_t> parse_bound(std::string_view text, const std::string& list)
{
    if (text.empty())
        return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
        throw UsageError("--slice: expected N, A:B, A:, :B or : for each axis, found " + list);
    return value;
}

AxisSlice parse_axis(std::string_view text, const std::string& list)
{
    const auto colon = text.find(':');
    if (colon != std::string_view::npos)
        return {parse_bound(text.substr(0, colon), list), parse_bound(text.substr(colon + 1), list)};
    const auto index = parse_bound(text, list);
    if (!index)
        throw UsageError("--slice: expected N, A:B, A:, :B or : for each axis, found " + list);
    return {index, *index + 1};
}

std::vector<AxisSlice> parse_slices(const std::string& list)
{
    std::vector<AxisSlice> slices;
    for (std::size_t begin = 0; begin <= list.size();) {
        const auto end = std::min(list.find(',', begin), list.size());
        slices.push_back(parse_axis(std::string_view(list).substr(begin, end - begin), list));
        begin = end + 1;
    }
    return slices;
}

Command parse_print(const std::vector<std::string>& arguments)
{
    auto options = with_help("Options");
    options.add_options()("slice,s", po::value<std::string>()->value_name("LIST"),
        "what to print of each axis, from the first: N, A:B, A:, :B or :, separated by commas (0,10:20)");
    const auto values = parse(arguments, options, {"file", "dataset"});
    if (values.count("help") != 0)
        return PrintText{help_text(print_help, options, "lava-trace print story.h5 layers/03/k --slice 0,10:20")};
    PrintCommand command{required(values, "file", "a file and a dataset"),
        required(values, "dataset", "a dataset, such as layers/00/k"), {}};
    if (values.count("slice") != 0)
        command.slices = parse_slices(values["slice"].as<std::string>());
    return command;
}

StoreType parse_store(const std::string& name)
{
    if (name == "f32")
        return StoreType::f32;
    if (name == "f16")
        return StoreType::f16;
    if (name == "bf16")
        return StoreType::bf16;
    throw UsageError("--store: expected f32, f16 or bf16, found " + name);
}

po::options_description synth_options(SynthCommand& command)
{
    auto options = with_help("Options");
    const auto size = [](std::int64_t& value) { return po::value(&value)->default_value(value)->value_name("N"); };
    auto& chosen = command.options;
    options.add_options()("output,o", po::value<std::string>()->value_name("TRACE"), "trace to write")(
        "layers", size(chosen.shape.num_layers), "decoder layers")(
        "heads", size(chosen.shape.num_heads), "query heads")("kv-heads", size(chosen.shape.num_kv_heads), "KV heads")(
        "head-dim", size(chosen.shape.head_dim), "numbers in a key")("hidden-size", size(chosen.shape.hidden_size),
        "width of the residual stream; 0: no W_O, no loss part")("seq-len", size(chosen.seq_len),
        "tokens of the prompt")("eval-len", size(chosen.eval_len), "evaluation steps; 0: no loss part")(
        "window", size(chosen.window), "query rows of the prompt's end")("sliding-window", size(chosen.sliding_window),
        "positions that a query sees in every layer, up to its own; 0: all")(
        "seed", size(chosen.seed), "of the generator")(
        "store", po::value<std::string>()->default_value("f32")->value_name("TYPE"), "f32, f16 or bf16");
    return options;
}

Command parse_synth(const std::vector<std::string>& arguments)
{
    SynthCommand command;
    const auto options = synth_options(command);
    const auto values = parse(arguments, options, {});
    if (values.count("help") != 0)
        return PrintText{
            help_text(synth_help, options, "lava-trace synth --layers 4 --seq-len 2000 --window 32 -o made.h5")};
    command.output = required(values, "output", "-o TRACE");
    command.options.store = parse_store(values["store"].as<std::string>());
    try {
        synthesize_info(command.options);
    } catch (const Error& error) {
        throw UsageError(error.what());
    }
    return command;
}

} // namespace

Command parse_options(int argc, const char* const* argv)
{
    const std::string name = argc > 1 ? argv[1] : "";
    const std::vector<std::string> rest(argv + std::min(argc, 2), argv + argc);
    if (name == "--help" || name == "-h" || name == "help")
        return PrintText{overview};
    if (name == "--version")
        return PrintText{"lava-trace " + std::string(version()) + "\n"};
    if (name == "info")
        return parse_info(rest);
    if (name == "verify")
        return parse_verify(rest);
    if (name == "print")
        return parse_print(rest);
    if (name == "synth")
        return parse_synth(rest);
    throw UsageError("expected a command, info, verify, print or synth" + (name.empty() ? "" : ", found " + name));
}

} // namespace lava
