#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace lava {

/// What a model answered, as a line of a file of predictions tells it.
struct Prediction
{
    std::int64_t line = 0; ///< from 1
    nlohmann::json id; ///< null where the line has none
    std::string dataset; ///< empty where the line names none
    std::string text;
    nlohmann::json answers; ///< as the line has them
    std::vector<std::string> classes;
};

/// Calls `use` with each line of a file of JSON lines, gzipped or not: of LongBench's (pred, answers, all_classes,
/// dataset), InfiniteBench's (id, prediction, ground_truth or label), RULER's (index, pred, outputs) or LAVa's needle
/// (model_response, needle). Blank lines are passed over. Throws Error naming file and line; what `use` throws as Error
/// gets them too.
void for_each_prediction(const std::filesystem::path& file, const std::function<void(const Prediction&)>& use);

} // namespace lava
