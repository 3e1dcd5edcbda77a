#include "replay/policies/external.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <limits>

namespace lava {

namespace {

constexpr std::int64_t most_tokens = std::numeric_limits<std::int32_t>::max(); // the longest prompt of a trace

nlohmann::json read_positions(const std::string& file)
{
    auto json = parse_json_file(file);
    if (!json.is_object() || !json.contains("seq_len") || !json.contains("kept")) {
        throw Error(
            file + R"(: expected a JSON object with "seq_len" and "kept" (as lava-analyze retained prints it))");
    }
    return json;
}

std::string at_head(std::size_t layer, std::size_t head)
{
    return formatted("kept[{}][{}]", layer, head);
}

// A list of ascending positions of the prompt. nlohmann's own conversion would cut fractions off.
std::vector<std::int64_t> read_positions(const std::string& where, const nlohmann::json& list, std::int64_t seq_len)
{
    const auto expectation = formatted("{}: expected ascending positions below {}, found ", where, seq_len);
    if (!list.is_array()) {
        throw Error(expectation + list.type_name());
    }
    std::vector<std::int64_t> positions;
    for (const auto& item : list) {
        const auto after = positions.empty() ? "" : formatted(" after {}", positions.back());
        const bool whole = item.is_number_unsigned() && item.get<std::uint64_t>() < static_cast<std::uint64_t>(seq_len);
        if (!whole || (!positions.empty() && item.get<std::int64_t>() <= positions.back())) {
            throw Error(expectation + item.dump() + after);
        }
        positions.push_back(item.get<std::int64_t>());
    }
    return positions;
}

template <typename Layer>
void expect_size(const std::string& file, const std::string& what, const Layer& found, std::int64_t expected)
{
    if (static_cast<std::int64_t>(found.size()) != expected) {
        throw Error(formatted("{}: {}: expected {} (the trace's), found {}", file, what, expected, found.size()));
    }
}

} // namespace

External::External(const PolicyParams& params)
    : file_(params.text("file"))
{
    const auto json = read_positions(file_);
    const auto& kept = json.at("kept");
    if (!json.at("seq_len").is_number_unsigned() || json.at("seq_len") > most_tokens || !kept.is_array()) {
        throw Error(file_ + R"(: expected a whole number "seq_len" and "kept" as lists [layer][kv_head][positions])");
    }
    seq_len_ = json.at("seq_len").get<std::int64_t>();
    for (const auto& layer : kept) {
        auto& heads = kept_.emplace_back();
        if (!layer.is_array()) {
            throw Error(formatted("{}: kept[{}]: expected a list [kv_head][positions], found {}", file_,
                kept_.size() - 1, layer.type_name()));
        }
        for (const auto& positions : layer) {
            const auto where = file_ + ": " + at_head(kept_.size() - 1, heads.size());
            heads.push_back(read_positions(where, positions, seq_len_));
        }
    }
}

LayerScores External::score(const LayerInputs& layer) const
{
    const auto heads = layer.shape().num_kv_heads;
    if (seq_len_ != layer.seq_len()) {
        throw Error(formatted("{}: seq_len: expected {} (the trace's), found {}", file_, layer.seq_len(), seq_len_));
    }
    expect_size(file_, "layers in kept", kept_, layer.shape().num_layers);
    const auto& kept = kept_[static_cast<std::size_t>(layer.layer())];
    expect_size(file_, formatted("KV heads in kept[{}]", layer.layer()), kept, heads);
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
