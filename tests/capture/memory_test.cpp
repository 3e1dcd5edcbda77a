#include "base/available_memory.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lava {
namespace {

constexpr std::int64_t mib = std::int64_t{1} << 20;
constexpr std::int64_t hidden = 768, wide = 3072, layers = 12, vocab = 16384;
constexpr std::int64_t layer_bytes = 4 * (4 * hidden * hidden + 3 * hidden * wide); ///< 36 MiB in float32

/// Numbers of a safetensors file's tensors, back to back: the same 1 MiB of noise over and over.
void write_noise(std::ostream& file, std::int64_t bytes, at::ScalarType dtype)
{
    const auto generator = at::detail::createCPUGenerator(1);
    const auto noise
        = (at::randn({mib / static_cast<std::int64_t>(at::elementSize(dtype))}, generator) * 0.02).to(dtype);
    for (; bytes > 0; bytes -= mib)
        file.write(static_cast<const char*>(noise.const_data_ptr()), std::min(bytes, mib));
}

/// A Llama of `layers` layers in `folder`, whose weights are stored as `dtype`.
void write_model(const std::filesystem::path& folder, at::ScalarType dtype)
{
    nlohmann::json header;
    std::int64_t end = 0;
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
        const auto begin = end;
        end += c10::multiply_integers(shape) * static_cast<std::int64_t>(at::elementSize(dtype));
        header[name + ".weight"]
            = {{"dtype", dtype == at::kFloat ? "F32" : "BF16"}, {"shape", shape}, {"data_offsets", {begin, end}}};
    };
    add("model.embed_tokens", {vocab, hidden});
    add("model.norm", {hidden});
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        const std::string prefix = "model.layers." + std::to_string(layer) + ".";
        add(prefix + "input_layernorm", {hidden});
        add(prefix + "post_attention_layernorm", {hidden});
        for (const char* name : {"q", "k", "v", "o"})
            add(prefix + "self_attn." + name + "_proj", {hidden, hidden});
        add(prefix + "mlp.gate_proj", {wide, hidden});
        add(prefix + "mlp.up_proj", {wide, hidden});
        add(prefix + "mlp.down_proj", {hidden, wide});
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    const std::uint64_t length = text.size();
    std::filesystem::create_directories(folder);
    std::ofstream file(folder / "model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << text;
    write_noise(file, end, dtype);
    std::ofstream(folder / "config.json") << nlohmann::json({{"architectures", {"LlamaForCausalLM"}},
        {"model_type", "llama"}, {"hidden_act", "silu"}, {"hidden_size", hidden}, {"intermediate_size", wide},
        {"num_hidden_layers", layers}, {"num_attention_heads", 12}, {"num_key_value_heads", 12}, {"vocab_size", vocab},
        {"max_position_embeddings", 512}, {"rms_norm_eps", 1e-5}, {"rope_theta", 10000.0},
        {"tie_word_embeddings", true}});
}

/// The number of KiB after `label` in a process's status file, in bytes; 0 where it is gone.
std::int64_t status_of(pid_t process, const std::string& label)
{
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    std::string word;
    std::int64_t kibibytes = 0;
    while (status >> word && word != label) { }
    return status >> kibibytes ? kibibytes * 1024 : 0;
}

struct Usage
{
    int status = -1;
    std::int64_t anonymous = 0; ///< most memory that no file backs (RssAnon), as seen every millisecond
    std::int64_t writable = 0; ///< most that counts for `ulimit -d` (VmData)
};

/// Captures a prompt of 64 tokens and two steps with the model in `folder`, under `ulimit -d`.
Usage capture(const std::filesystem::path& folder, const std::filesystem::path& ids, const std::filesystem::path& trace,
    std::int64_t limit = -1)
{
    const pid_t child = ::fork();
    if (child == 0) {
        if (limit >= 0) {
            const struct rlimit data = {static_cast<rlim_t>(limit), static_cast<rlim_t>(limit)};
            ::setrlimit(RLIMIT_DATA, &data);
        }
        ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
        ::execl(LAVA_CAPTURE, LAVA_CAPTURE, "--model", folder.c_str(), "--ids", ids.c_str(), "--continue", "2",
            "--threads", "2", "-o", trace.c_str(), nullptr);
        ::_exit(127);
    }
    Usage usage;
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
        usage.anonymous = std::max(usage.anonymous, status_of(child, "RssAnon:"));
        usage.writable = std::max(usage.writable, status_of(child, "VmData:"));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    usage.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return usage;
}

/// With models of 432 MiB of weights in float32, and room for two of their twelve layers.
class CaptureMemory : public testing::Test
{
protected:
    void SetUp() override
    {
#ifdef __SANITIZE_ADDRESS__
        GTEST_SKIP() << "the address sanitizer takes memory of its own";
#endif
        std::ofstream(folder_ / "ids.json") << nlohmann::json(std::vector<int>(64, 7));
        // what the program takes in any case: LibTorch, threads, HDF5, the prompt
        program_ = capture(LAVA_SOURCE_DIR "/models/stories260K", folder_ / "ids.json", folder_ / "small.h5");
        ASSERT_EQ(program_.status, 0);
    }

    Usage captured(const std::string& model, std::int64_t limit = -1)
    {
        return capture(folder_ / model, folder_ / "ids.json", folder_ / (model + ".h5"), limit);
    }
    /// The program's own peak may have been missed where the machine is busy.
    std::int64_t room_for(std::int64_t weights) const
    {
        return program_.writable + weights + 64 * mib;
    }

    TemporaryFolder folder_;
    Usage program_;
};

TEST_F(CaptureMemory, IsOfOneLayerWhereTheConvertedWeightsDoNotFit)
{
    write_model(folder_ / "coarse", at::kBFloat16);
    const Usage limited = captured("coarse", room_for(2 * layer_bytes));
    ASSERT_EQ(limited.status, 0);
    EXPECT_LT(limited.anonymous - program_.anonymous, 2 * layer_bytes);
    EXPECT_LT(room_for(2 * layer_bytes), layers * layer_bytes) << "or the limit would hold all of the weights";

    const std::string expected = file_bytes(folder_ / "coarse.h5");
    if (available_memory() < 3 * layers * layer_bytes)
        GTEST_SKIP() << "there is no memory for all weights to compare with";
    const Usage unlimited = captured("coarse");
    ASSERT_EQ(unlimited.status, 0);
    EXPECT_GT(unlimited.anonymous, layers * layer_bytes) << "all weights converted: what the limit does not allow";
    EXPECT_TRUE(file_bytes(folder_ / "coarse.h5") == expected);
}

TEST_F(CaptureMemory, HoldsNoWeightsThatAreUsedAsTheyLieInTheFile)
{
    write_model(folder_ / "plain", at::kFloat);
    const Usage limited = captured("plain", room_for(layer_bytes));
    ASSERT_EQ(limited.status, 0);
    EXPECT_LT(limited.anonymous - program_.anonymous, layer_bytes);
}

} // namespace
} // namespace lava
