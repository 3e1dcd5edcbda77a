#include "bench/model_floor.h"

#include <numeric>

namespace lava::bench {

namespace {

constexpr std::int64_t rows_at_once = 768; // enough for either library's full speed
constexpr std::int64_t columns_at_once = 1024; // rows of lm_head, or entries: what is made anew stays in cache

/// Query columns times entries that they see: of the prompt what the row keeps, and the decode entries so far.
double attended(const ModelConfig& config, const std::vector<RetainedPrompt>& rows, std::int64_t steps)
{
    const auto heads = config.shape.num_heads, layers = config.shape.num_layers;
    double pairs = 0;
    for (const auto& row : rows) {
        const auto kept = std::accumulate(row.counts.begin(), row.counts.end(), std::int64_t{0});
        pairs += static_cast<double>(steps * kept * (heads / row.cache_heads));
    }
    return pairs + static_cast<double>(std::ssize(rows) * layers * heads * steps * (steps + 1) / 2);
}

/// Every layer's weights times so many tokens.
std::vector<ProductShape> layer_products(const ModelConfig& config, double tokens)
{
    const auto hidden = config.shape.hidden_size, wide = config.intermediate_size, dim = config.shape.head_dim;
    const auto q = config.shape.num_heads * dim, kv = config.shape.num_kv_heads * dim;
    const auto count = tokens / static_cast<double>(rows_at_once) * static_cast<double>(config.shape.num_layers);
    return {{"q_proj", rows_at_once, hidden, q, count}, {"k_proj, v_proj", rows_at_once, hidden, kv, 2 * count},
        {"o_proj", rows_at_once, q, hidden, count}, {"gate_proj, up_proj", rows_at_once, hidden, wide, 2 * count},
        {"down_proj", rows_at_once, wide, hidden, count}};
}

/// Adds the products of attention over `pairs` pairs of a query column and an entry that it sees.
void add_attention(const ModelConfig& config, double pairs, std::vector<ProductShape>& products)
{
    const auto dim = config.shape.head_dim;
    const auto blocks = pairs / static_cast<double>(rows_at_once * columns_at_once);
    products.push_back({"QK^T", rows_at_once, dim, columns_at_once, blocks});
    products.push_back({"PV", rows_at_once, columns_at_once, dim, blocks});
}

} // namespace

std::vector<ProductShape> closed_loop_products(
    const ModelConfig& config, const std::vector<RetainedPrompt>& rows, std::int64_t steps)
{
    const auto tokens = static_cast<double>(std::ssize(rows) * steps);
    const auto panels = static_cast<double>(config.vocab_size) / static_cast<double>(columns_at_once);
    auto products = layer_products(config, tokens);
    products.push_back({"lm_head", rows_at_once, config.shape.hidden_size, columns_at_once,
        tokens / static_cast<double>(rows_at_once) * panels});
    add_attention(config, attended(config, rows, steps), products);
    return products;
}

std::vector<ProductShape> prefill_products(const ModelConfig& config, std::int64_t tokens)
{
    const auto n = static_cast<double>(tokens);
    auto products = layer_products(config, n);
    add_attention(
        config, static_cast<double>(config.shape.num_heads * config.shape.num_layers) * n * (n + 1) / 2, products);
    return products;
}

} // namespace lava::bench
