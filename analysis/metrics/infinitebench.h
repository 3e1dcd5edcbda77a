#pragma once

#include "analysis/metrics/characters.h"

#include <nlohmann/json_fwd.hpp>

namespace lava {

// InfiniteBench's compute_scores.py, task by task: `truth` is the ground_truth of a record. Each throws Error where
// that is nothing that the official scorer can read. A decimal that math_find compares with a whole number ends the
// official scorer; here it is wrong.

namespace infinitebench {

double kv_retrieval(CharactersView prediction, const nlohmann::json& truth);
/// passkey, number_string
double first_integer(CharactersView prediction, const nlohmann::json& truth);
double code_run(CharactersView prediction, const nlohmann::json& truth);
double code_debug(CharactersView prediction, const nlohmann::json& truth);
double math_find(CharactersView prediction, const nlohmann::json& truth);
/// Share of the numbers that are right up to the first that is not. `skip_first`: of the predictions of gpt4, whose
/// first number is the first of the question.
double math_calc(CharactersView prediction, const nlohmann::json& truth, bool skip_first);
double longdialogue_qa_eng(CharactersView prediction, const nlohmann::json& truth);
double longbook_choice_eng(CharactersView prediction, const nlohmann::json& truth);
double longbook_qa_eng(CharactersView prediction, const nlohmann::json& truth);
double longbook_qa_chn(CharactersView prediction, const nlohmann::json& truth);
double longbook_sum_eng(CharactersView prediction, const nlohmann::json& truth);

} // namespace infinitebench

} // namespace lava
