#include "replay/external.h"

#include "traces/error.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace lava {

namespace {

nlohmann::json read_json(const std::string& file)
{
    std::ifstream in(file);
    if (!in) {
        throw Error(file + ": cannot be read");
    }
    auto json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("seq_len") || !json.contains("kept")) {
        throw Error(
            file + R"(: expected a JSON object with "seq_len" and "kept" (as lava-analyze retained prints it))");
    }
    return json;
}

std::string at_head(std::size_t layer, std::size_t head)
{
    return "kept[" + std::to_string(layer) + "][" + std::to_string(head) + "]";
}

void check_positions(const std::string& file, std::size_t layer, std::size_t head,
    const std::vector<std::int64_t>& positions, std::int64_t seq_len)
{
    std::int64_t previous = -1;
    for (const auto position : positions) {
        if (position <= previous || position >= seq_len) {
            throw Error(file + ": " + at_head(layer, head) + ": expected ascending positions below "
                + std::to_string(seq_len) + ", found " + std::to_string(position) + " after "
                + std::to_string(previous));
        }
        previous = position;
    }
}

template <typename Layer>
void expect_size(const std::string& file, const std::string& what, const Layer& found, std::int64_t expected)
{
    if (static_cast<std::int64_t>(found.size()) != expected) {
        throw Error(file + ": " + what + ": expected " + std::to_string(expected) + " (the trace's), found "
            + std::to_string(found.size()));
    }
}

} // namespace

External::External(const PolicyParams& params)
    : file_(params.text("file"))
{
    const auto json = read_json(file_);
    try {
        json.at("seq_len").get_to(seq_len_);
        json.at("kept").get_to(kept_);
    } catch (const nlohmann::json::exception&) {
        throw Error(file_ + R"(: expected a whole number "seq_len" and "kept" as lists [layer][kv_head][positions])");
    }
    for (std::size_t layer = 0; layer < kept_.size(); ++layer) {
        for (std::size_t head = 0; head < kept_[layer].size(); ++head) {
            check_positions(file_, layer, head, kept_[layer][head], seq_len_);
            total_ += static_cast<std::int64_t>(kept_[layer][head].size());
        }
    }
}

LayerScores External::score(const LayerInputs& layer) const
{
    const auto heads = layer.shape().num_kv_heads;
    if (seq_len_ != layer.seq_len()) {
        throw Error(file_ + ": seq_len: expected " + std::to_string(layer.seq_len()) + " (the trace's), found "
            + std::to_string(seq_len_));
    }
    expect_size(file_, "layers in kept", kept_, layer.shape().num_layers);
    const auto& kept = kept_[static_cast<std::size_t>(layer.layer())];
    expect_size(file_, "KV heads in kept[" + std::to_string(layer.layer()) + "]", kept, heads);
    auto entries = at::zeros({heads, layer.seq_len()});
    auto values = entries.accessor<float, 2>();
    for (std::int64_t head = 0; head < heads; ++head) {
        for (const auto position : kept[static_cast<std::size_t>(head)]) {
            values[head][position] = 1;
        }
    }
    return {entries};
}

Allocation External::allocate(std::span<const RankedLayer>, const BudgetRequest&) const
{
    Allocation allocation;
    for (const auto& layer : kept_) {
        for (const auto& positions : layer) {
            allocation.granted.push_back(static_cast<std::int64_t>(positions.size()));
        }
    }
    allocation.retained = allocation.granted;
    return allocation;
}

std::vector<ParameterInfo> External::parameters()
{
    return {file_parameter("file", "retained set to replay")};
}

} // namespace lava
