#include "bench/closed_loop_floor.h"

#include <numeric>

namespace lava::bench {

namespace {

constexpr std::int64_t rows_at_once = 768; // enough for either library's full speed
constexpr std::int64_t columns_at_once = 1024; // of lm_head and of the entries: what is made anew stays in cache

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

} // namespace

std::vector<ProductShape> closed_loop_products(
    const ModelConfig& config, const std::vector<RetainedPrompt>& rows, std::int64_t steps)
{
    const auto hidden = config.shape.hidden_size, wide = config.intermediate_size, dim = config.shape.head_dim;
    const auto q = config.shape.num_heads * dim, kv = config.shape.num_kv_heads * dim;
    const auto tiles = static_cast<double>(std::ssize(rows) * steps) / static_cast<double>(rows_at_once);
    const auto of_layers = tiles * static_cast<double>(config.shape.num_layers);
    const auto panels = static_cast<double>(config.vocab_size) / static_cast<double>(columns_at_once);
    const auto blocks = attended(config, rows, steps) / static_cast<double>(rows_at_once * columns_at_once);
    return {{"q_proj", rows_at_once, hidden, q, of_layers}, {"k_proj, v_proj", rows_at_once, hidden, kv, 2 * of_layers},
        {"o_proj", rows_at_once, q, hidden, of_layers},
        {"gate_proj, up_proj", rows_at_once, hidden, wide, 2 * of_layers},
        {"down_proj", rows_at_once, wide, hidden, of_layers},
        {"lm_head", rows_at_once, hidden, columns_at_once, tiles * panels},
        {"QK^T", rows_at_once, dim, columns_at_once, blocks}, {"PV", rows_at_once, columns_at_once, dim, blocks}};
}

} // namespace lava::bench
