#include "base/error.h"
#include "base/program.h"
#include "model/decoder.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <fstream>
#include <iostream>

namespace lava {
namespace {

constexpr const char* help
    = "Usage: lava-dump-forward MODEL IDS.json POSITIONS.json OUTPUT\n"
      "Runs a model over token ids on the CPU in float32, for tests/parity/compare_transformers.py.\n"
      "Writes raw float32: logits of the positions, then per layer k, then per layer v, each [num_kv_heads, N, "
      "head_dim].\n";

std::vector<std::int64_t> read_integers(const char* file)
{
    std::ifstream in(file);
    const auto values = nlohmann::json::parse(in, nullptr, false);
    if (!values.is_array())
        throw Error(std::string(file) + ": expected a JSON array of integers");
    return values.get<std::vector<std::int64_t>>();
}

void write(std::ofstream& out, const at::Tensor& values)
{
    const auto plain = values.to(at::kFloat).contiguous();
    out.write(static_cast<const char*>(plain.data_ptr()), static_cast<std::streamsize>(plain.nbytes()));
}

int run(int argc, char** argv)
{
    if (argc != 5)
        throw UsageError("expected MODEL IDS.json POSITIONS.json OUTPUT");
    const Decoder decoder(Checkpoint(argv[1]), {.device = "cpu", .dtype = "float32"});
    KvCache cache;
    const auto logits = decoder.forward(read_integers(argv[2]), cache, nullptr, true);
    std::ofstream out(argv[4], std::ios::binary);
    write(out, logits.index_select(0, at::tensor(read_integers(argv[3]), at::kLong)));
    for (const auto* layers : {&cache.k, &cache.v})
        for (const auto& layer : *layers)
            write(out, layer);
    if (!out.flush())
        throw Error(std::string(argv[4]) + ": cannot be written");
    return 0;
}

} // namespace
} // namespace lava

int main(int argc, char** argv)
{
    if (argc == 2 && std::string_view(argv[1]) == "--help") {
        std::cout << lava::help;
        return 0;
    }
    return lava::run_program("lava-dump-forward", [&] { return lava::run(argc, argv); });
}
