// The CUDA kernels against what the GPU does at best and against this processor, in one run.

#include "base/error.h"
#include "base/program.h"
#include "bench/command_line.h"
#include "bench/cuda_floor.h"
#include "bench/workload.h"
#include "compute/cuda/attention.h"
#include "compute/device.h"
#include "compute/parallel.h"
#include "replay/losses/loss.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace lava::bench {
namespace {

namespace po = boost::program_options;

const ModelShape llama3{.num_layers = 1, .num_heads = 32, .num_kv_heads = 8, .head_dim = 128, .hidden_size = 4096};

struct Roofs
{
    double bytes_per_second, flops_per_second;
};

/// One layer's attention of the last n of `tokens` positions, with column sums.
struct AttentionRun
{
    cuda::Attention attention;
    cuda::DeviceMemory q, k, v, z, sums, off_diagonal, workspace;
    double bytes = 0, flops = 0;

    AttentionRun(cuda::NumberType type, std::int64_t n, std::int64_t tokens)
    {
        const std::size_t width = type == cuda::NumberType::float32 ? 4 : 2;
        const auto rows = llama3.num_heads * n * llama3.head_dim, keys = llama3.num_kv_heads * tokens * llama3.head_dim;
        const auto columns = static_cast<std::size_t>(llama3.num_heads * tokens) * sizeof(float);
        q = zeros(static_cast<std::size_t>(rows) * width), z = zeros(q.size());
        k = zeros(static_cast<std::size_t>(keys) * width), v = zeros(k.size());
        sums = zeros(columns), off_diagonal = zeros(columns);
        attention.type = type;
        attention.q = q.data(), attention.k = k.data(), attention.v = v.data(), attention.z = z.data();
        attention.q_stride = n * llama3.head_dim, attention.k_stride = attention.v_stride = tokens * llama3.head_dim;
        attention.num_heads = llama3.num_heads, attention.num_kv_heads = llama3.num_kv_heads;
        attention.n = n, attention.num_keys = tokens, attention.head_dim = llama3.head_dim;
        attention.column_sums = static_cast<float*>(sums.data());
        attention.off_diagonal = static_cast<float*>(off_diagonal.data());
        workspace = zeros(static_cast<std::size_t>(cuda::attention_workspace(attention)) * sizeof(float));
        bytes = static_cast<double>(q.size() + k.size() + v.size() + z.size() + 2 * columns);
        const auto pairs = static_cast<double>(n) * (static_cast<double>(tokens) - 0.5 * static_cast<double>(n - 1));
        flops = 6 * pairs * static_cast<double>(llama3.num_heads * llama3.head_dim); // q k^T twice, weights times v
    }

    void operator()() const
    {
        cuda::attend(attention, static_cast<float*>(workspace.data()), nullptr);
        cuda::synchronize();
    }

private:
    static cuda::DeviceMemory zeros(std::size_t bytes)
    {
        cuda::DeviceMemory memory(bytes);
        const std::vector<unsigned char> host(bytes);
        cuda::copy_to_device(memory.data(), host.data(), bytes);
        return memory;
    }
};

template <typename Work> double best_seconds(int runs, const Work& work)
{
    work();
    double best = INFINITY;
    for (int run = 0; run < runs; ++run) {
        best = std::min(best, seconds_of(Clock::wall, work));
    }
    return best;
}

void print_attention(const char* name, cuda::NumberType type, std::int64_t n, std::int64_t tokens, int runs)
{
    const Roofs roofs{copy_bytes_per_second(), product_flops_per_second(type)};
    const AttentionRun run(type, n, tokens);
    const auto seconds = best_seconds(runs, run);
    const auto roof = std::max(run.bytes / roofs.bytes_per_second, run.flops / roofs.flops_per_second);
    std::printf("%-9s %7lld %7lld %9.3f %9.1f %9.1f %9.3f %8.2f\n", name, static_cast<long long>(n),
        static_cast<long long>(tokens), 1e3 * seconds, 1e-12 * run.flops / seconds, 1e-9 * run.bytes / seconds,
        1e3 * roof, seconds / roof);
}

double sum_of_losses(const Workload& workload, const Device& device, int threads)
{
    const LayerAttention attention(workload.layers.front(), threads, nullptr, device);
    std::vector<double> sums(workload.policies.size());
    parallel_items(static_cast<std::int64_t>(sums.size()), threads, [&](std::int64_t policy) {
        const auto p = static_cast<std::size_t>(policy);
        const auto losses = attention.losses(workload.rankings[p].front(), workload.counts[p].front());
        for (const auto loss : losses.attn_out_l1) {
            sums[p] += loss;
        }
    });
    double sum = 0;
    for (const auto of_policy : sums) {
        sum += of_policy;
    }
    return sum;
}

void print_losses(std::int64_t tokens, int threads, int runs)
{
    constexpr std::int64_t steps = 16, policies = 4, budgets = 64;
    const auto workload = make_workload(synthetic_layers(llama3, tokens, steps), policies, budgets, threads);
    const auto& device = device_of("cuda");
    double of_device = 0, of_cpu = 0;
    const auto device_seconds = best_seconds(runs, [&] { of_device = sum_of_losses(workload, device, threads); });
    const auto cpu_seconds = best_seconds(1, [&] { of_cpu = sum_of_losses(workload, cpu_device(), threads); });
    std::printf("\nopen-loop losses of a layer, %lld tokens, %d policies x %d budgets, bounds on the CPU in both\n"
                "cuda %.3f s, %d CPU threads %.3f s: %.1f times; relative difference %.1e\n",
        static_cast<long long>(tokens), static_cast<int>(policies), static_cast<int>(budgets), device_seconds, threads,
        cpu_seconds, cpu_seconds / device_seconds, std::abs(of_device - of_cpu) / of_cpu);
}

po::options_description options_of_program()
{
    po::options_description options("Options");
    auto add = options.add_options();
    add("tokens", po::value<std::int64_t>()->default_value(32768)->value_name("N"), "tokens of the longest prompt");
    add("runs", po::value<int>()->default_value(5)->value_name("N"), "runs, of which the fastest counts");
    add("threads", po::value<int>()->default_value(default_threads())->value_name("N"), "of the CPU");
    add("help,h", "print this and exit");
    return options;
}

int run(int argc, char** argv)
{
    const auto options = options_of_program();
    const auto values = parsed(argc, argv, options);
    if (values.contains("help")) {
        std::cout << "Usage: lava-bench-cuda [options]\nThe CUDA kernels on Llama-3-8B's shape: one layer's attention "
                     "with column sums, and open-loop losses.\n\n"
                  << options;
        return 0;
    }
    const auto tokens = values["tokens"].as<std::int64_t>();
    const auto runs = values["runs"].as<int>(), threads = values["threads"].as<int>();
    if (tokens < 1024 || runs < 1 || threads < 1) {
        throw UsageError("expected --tokens of at least 1024, and at least one run and thread");
    }
    (void)device_of("cuda"); // throws where there is none
    at::set_num_threads(1);
    std::printf("%s\n%-9s %7s %7s %9s %9s %9s %9s %8s\n", cuda::device_name(0).c_str(), "attention", "queries", "keys",
        "ms", "TFLOP/s", "GB/s", "roof ms", "to roof");
    for (const auto& [name, type] : {std::pair{"bfloat16", cuda::NumberType::bfloat16},
             std::pair{"float16", cuda::NumberType::float16}, std::pair{"float32", cuda::NumberType::float32}}) {
        for (const auto n : {std::int64_t{1}, std::int64_t{64}, tokens / 4, tokens}) {
            print_attention(name, type, n, tokens, runs);
        }
    }
    print_losses(tokens, threads, runs);
    return 0;
}

} // namespace
} // namespace lava::bench

int main(int argc, char** argv)
{
    return lava::run_program("lava-bench-cuda", [&] { return lava::bench::run(argc, argv); });
}
