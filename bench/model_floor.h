#pragma once

#include "bench/floor.h"
#include "model/config.h"
#include "replay/closed_loop/closed_loop_rows.h"

namespace lava::bench {

/// What a closed loop of these rows over `steps` steps cannot do without (method: section 3.1): every weight times
/// every row and step, QK^T and PV over the entries that each row keeps.
std::vector<ProductShape> closed_loop_products(
    const ModelConfig& config, const std::vector<RetainedPrompt>& rows, std::int64_t steps);

/// What a prefill cannot do without: every layer's weights times every token, QK^T and PV over what each token sees.
std::vector<ProductShape> prefill_products(const ModelConfig& config, std::int64_t tokens);

} // namespace lava::bench
