// Prefill against its products alone, with capture against without, and the trace's write rate against raw disk; each
// pair timed in turn, in one run. tests/parity/time_transformers.py times transformers on the same tokens.

#include "base/error.h"
#include "base/program.h"
#include "bench/command_line.h"
#include "bench/model_floor.h"
#include "capture/recorder.h"
#include "model/decoder.h"
#include "traces/synthesize.h"
#include "traces/trace_writer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <iostream>
#include <sstream>
#include <unistd.h>

namespace {

using namespace lava;
using namespace lava::bench;
namespace po = boost::program_options;

struct Options
{
    std::string model;
    std::int64_t tokens = 3788;
    int runs = 3;
    int threads = 0;
    std::string folder = ".";
    std::string help;
};

Options parse_options(int argc, char** argv)
{
    Options options;
    po::options_description visible("Options");
    auto add = visible.add_options();
    add("model", po::value(&options.model)->value_name("DIR"), "Hugging Face folder of the model");
    add("tokens", po::value(&options.tokens)->default_value(options.tokens), "tokens of the prompt");
    add("runs", po::value(&options.runs)->default_value(options.runs), "runs of each; medians are printed");
    add("threads", po::value(&options.threads)->default_value(options.threads), "CPU threads; 0: one per core");
    add("folder", po::value(&options.folder)->default_value(options.folder), "where traces are written and removed");
    add("help", "print this and exit");
    const auto values = parsed(argc, argv, visible);
    if (values.count("help") != 0) {
        std::ostringstream text;
        text << "Usage: lava-bench-prefill --model DIR [options]\nTimes prefill with and without capture, and its "
                "products alone.\n\n"
             << visible;
        options.help = text.str();
    } else if (options.model.empty() || options.tokens < 1 || options.runs < 1) {
        throw UsageError("expected --model DIR, and --tokens and --runs of at least 1");
    }
    return options;
}

struct Pair
{
    double first = 0, second = 0; ///< medians
};

/// The two in turn, `runs` times, each after `prepare`, which is not timed.
Pair in_turn(
    int runs, const std::function<void()>& first, const std::function<void()>& second,
    const std::function<void()>& prepare = [] {})
{
    std::vector<double> times[2];
    for (int run = 0; run < runs; ++run) {
        prepare();
        times[0].push_back(seconds_of(Clock::wall, first));
        prepare();
        times[1].push_back(seconds_of(Clock::wall, second));
    }
    return {median(times[0]), median(times[1])};
}

/// Writes `bytes` bytes to `file` and to the disk, 8 MB at a time.
void write_raw(const std::filesystem::path& file, std::uintmax_t bytes)
{
    const std::vector<char> block(8 << 20, 'x');
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = descriptor >= 0;
    for (std::uintmax_t done = 0; good && done < bytes;) {
        const auto size = std::min<std::uintmax_t>(block.size(), bytes - done);
        good = ::write(descriptor, block.data(), size) == static_cast<ssize_t>(size);
        done += size;
    }
    good = good && ::fsync(descriptor) == 0 && ::close(descriptor) == 0;
    if (!good)
        throw Error(file.string() + ": cannot be written");
}

/// The products alone, one library or the other, whichever is faster at each.
double time_products(const ModelConfig& config, std::int64_t tokens)
{
    std::vector<FloorProduct> timed;
    const int threads = at::get_num_threads();
    for (const auto& product : prefill_products(config, tokens))
        timed.push_back(time_product(product, threads, Clock::wall));
    return floor_seconds(timed);
}

void bench_prefill(const Options& options, const std::filesystem::path& trace)
{
    const Checkpoint checkpoint(options.model);
    const Decoder decoder(checkpoint, {});
    TraceInfo info;
    info.run_dtype = decoder.options().dtype;
    for (std::int64_t i = 0; i < options.tokens; ++i) // any tokens take as long
        info.prompt_ids.push_back(i * 7919 % decoder.config().vocab_size);
    const Evaluation none{.steps = 0, .reference = {}};
    info = complete_info(info, decoder.config(), none, {});
    const auto times = in_turn(
        options.runs,
        [&] {
            KvCache cache;
            decoder.forward(info.prompt_ids, cache, nullptr, false);
        },
        [&] { record_trace(decoder, info, none, {}, {.trace = trace, .weights = {}}, nullptr, [] {}); });
    std::printf("prefill of %lld tokens, %d threads             %8.3f s\n", static_cast<long long>(options.tokens),
        at::get_num_threads(), times.first);
    const auto products = time_products(decoder.config(), options.tokens);
    std::printf("products that it cannot do without             %8.3f s\n", products);
    std::printf("prefill / products                             %8.3f\n", times.first / products);
    std::printf("the same with capture, %6.1f MB to the disk  %8.3f s\n",
        static_cast<double>(std::filesystem::file_size(trace)) / 1e6, times.second);
    std::printf("with / without                                 %8.3f\n", times.second / times.first);
}

void bench_disk(const Options& options, const std::filesystem::path& trace)
{
    SynthesisOptions sizes;
    sizes.shape = {.num_layers = 8, .num_heads = 32, .num_kv_heads = 8, .head_dim = 128, .hidden_size = 0};
    sizes.seq_len = 8192;
    sizes.eval_len = 0;
    const auto info = synthesize_info(sizes);
    const auto layer = synthesize_layer(sizes, 0);
    std::uintmax_t bytes = 0;
    const auto write_trace = [&] {
        TraceWriter writer(trace, info, {.store = StoreType::f32, .weights_file = {}});
        for (std::int64_t i = 0; i < sizes.shape.num_layers; ++i) {
            auto view = layer;
            view.layer = i;
            writer.write_layer(view);
        }
        writer.finish();
        bytes = std::filesystem::file_size(trace);
    };
    write_trace(); // for its size
    const auto raw = trace.string() + ".raw";
    const auto remove = [&] { // both write a file that is not there: an old one would keep its pages, or give them back
        std::filesystem::remove(trace);
        std::filesystem::remove(raw);
    };
    const int runs = 2 * options.runs + 1; // short, and at the mercy of where the system finds memory
    const auto times = in_turn(
        runs, write_trace, [&] { write_raw(raw, bytes); }, remove);
    std::filesystem::remove(raw);
    const auto rate = [&](double time) { return static_cast<double>(bytes) / 1e6 / time; };
    std::printf("writing a trace of %.0f MB                     %8.0f MB/s\n", static_cast<double>(bytes) / 1e6,
        rate(times.first));
    std::printf("plain writes of as much, to the disk           %8.0f MB/s\n", rate(times.second));
    std::printf("trace / plain                                  %8.3f\n", times.second / times.first);
}

} // namespace

int main(int argc, char** argv)
{
    return run_program("lava-bench-prefill", [&] {
        const auto options = parse_options(argc, argv);
        if (!options.help.empty()) {
            std::cout << options.help;
            return 0;
        }
        if (options.threads > 0)
            at::set_num_threads(options.threads);
        const auto trace = std::filesystem::path(options.folder) / "lava-bench-prefill.h5";
        bench_prefill(options, trace);
        bench_disk(options, trace);
        std::filesystem::remove(trace);
        return 0;
    });
}
