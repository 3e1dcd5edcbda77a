#pragma once

// The datasets of a layer, said once for reader and writer (traces/FORMAT.md).

#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Where a dataset's tensor lives and what it is for.
enum class Role
{
    required, ///< k, v, q_window
    statistic, ///< sums, means and maxima over the prompt: float32 whatever the rest is stored as
    weight, ///< may be linked from a weights file
    evaluation ///< of the evaluation steps
};

struct LayerDataset
{
    std::string_view name; ///< in the file and in LayerView
    at::Tensor LayerView::*tensor;
    Role role;
    std::vector<std::int64_t> (*extents)(const TraceInfo& info);
};

std::span<const LayerDataset> layer_datasets();

/// "00", "01", ...; three digits where there are a hundred layers or more.
std::string layer_name(std::int64_t layer, std::int64_t num_layers);

/// "float32", "float16", "bfloat16"
std::string_view to_string(StoreType type);

/// The largest relative error of a number rounded to the type.
double roundoff_of(StoreType type);

} // namespace lava
