#include "analysis/metrics/metric.h"

#include "analysis/metrics/answers.h"
#include "analysis/metrics/infinitebench.h"
#include "analysis/metrics/longbench.h"
#include "analysis/metrics/rouge.h"
#include "analysis/metrics/similarity.h"
#include "analysis/metrics/word_overlap.h"
#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace lava {

namespace {

/// The best over all answers, 0 where there are none.
template <typename Score> double best(const Scored& scored, Score score)
{
    double most = 0;
    for (const Characters& answer : texts_of(scored.answers))
        most = std::max(most, score(scored.prediction, answer));
    return most;
}

double qa_f1(const Scored& scored)
{
    return best(scored, [](CharactersView a, CharactersView b) { return f1(normal_words(a), normal_words(b)); });
}

double qa_f1_zh(const Scored& scored)
{
    const auto normal = [&](CharactersView text) {
        std::vector<Characters> words = scored.words->cut(text);
        std::ranges::transform(words, words.begin(), [](const Characters& word) { return normal_chinese(word); });
        std::erase(words, Characters());
        return words;
    };
    return best(scored, [&](CharactersView a, CharactersView b) { return f1(normal(a), normal(b)); });
}

double rouge_zh(const Scored& scored)
{
    const auto spaced = [&](CharactersView text) {
        Characters result;
        for (const Characters& word : scored.words->cut(text))
            result.append(result.empty() ? U"" : U" ").append(word);
        return result;
    };
    return best(scored, [&](CharactersView a, CharactersView b) { return rouge_l(spaced(a), spaced(b)); });
}

double classification_of(const Scored& scored)
{
    return best(scored, [&](CharactersView a, CharactersView b) { return classification(a, b, scored.classes); });
}

/// LongBench takes str() of the answer.
double count_of(const Scored& scored)
{
    nlohmann::json answers = scored.answers.is_array() ? scored.answers : nlohmann::json::array({scored.answers});
    for (nlohmann::json& answer : answers) {
        if (answer.is_number_integer())
            answer = answer.dump();
    }
    return best({scored.prediction, answers, {}, nullptr}, count_score);
}

template <const char32_t* before> double retrieval_of(const Scored& scored)
{
    return best(scored, [](CharactersView a, CharactersView b) { return retrieval(a, b, before); });
}

template <int (*ratio)(CharactersView, CharactersView)> double code_similarity_of(const Scored& scored)
{
    return best(scored, [](CharactersView a, CharactersView b) { return code_similarity(a, b, ratio); });
}

/// RULER's: control characters are line breaks, upper and lower case are one.
std::vector<bool> matches(const Scored& scored)
{
    Characters text(strip(scored.prediction));
    std::ranges::replace_if(
        text, [](char32_t c) { return c < 0x20; }, U'\n');
    text = lower(strip(text));
    std::vector<bool> found;
    for (const Characters& answer : texts_of(scored.answers))
        found.push_back(text.find(lower(answer)) != Characters::npos);
    if (found.empty())
        throw Error("the list is empty");
    return found;
}

double string_match_all(const Scored& scored)
{
    const std::vector<bool> found = matches(scored);
    return static_cast<double>(std::ranges::count(found, true)) / static_cast<double>(found.size());
}

double string_match_part(const Scored& scored)
{
    const std::vector<bool> found = matches(scored);
    return std::ranges::count(found, true) > 0;
}

template <auto score> double of_truth(const Scored& scored)
{
    return score(scored.prediction, scored.answers);
}

template <bool skip_first> double math_calc(const Scored& scored)
{
    return infinitebench::math_calc(scored.prediction, scored.answers, skip_first);
}

double rouge_l_of(const Scored& scored)
{
    return best(scored, rouge_l);
}

double needle_rouge_1(const Scored& scored)
{
    return best(scored, rouge_1_of_stems);
}

constexpr char32_t paragraph[] = U"Paragraph ";
constexpr char32_t chinese_paragraph[] = U"段落";

constexpr Metric all_metrics[] = {
    {"qa_f1", "LongBench: F1 of words, without articles and punctuation", qa_f1},
    {"qa_f1_zh", "LongBench: F1 of jieba's words", qa_f1_zh, true},
    {"rouge-l", "LongBench: f of the Python package rouge, of sets of words", rouge_l_of},
    {"rouge_zh", "LongBench: the same of jieba's words", rouge_zh, true},
    {"classification", "LongBench: 1 over the classes named beside the right one", classification_of, false, true},
    {"retrieval", "LongBench: share of the numbers that are the paragraph's", retrieval_of<paragraph>},
    {"retrieval_zh", "LongBench: the same of 段落", retrieval_of<chinese_paragraph>},
    {"count", "LongBench: share of the numbers that are the answer", count_of},
    {"code_sim", "LongBench: fuzzywuzzy's ratio of the first line of code, by difflib",
        code_similarity_of<difflib_ratio>},
    {"code_sim_levenshtein", "the same as it comes where python-Levenshtein is installed",
        code_similarity_of<levenshtein_ratio>},
    {"string_match_all", "RULER: share of the answers that occur", string_match_all},
    {"string_match_part", "RULER: whether one of the answers occurs", string_match_part},
    {"needle_rouge_1", "LAVa's needle: rouge1 F of the Python package rouge_score, of stems", needle_rouge_1},
    {"needle_word_overlap", "LAVa's needle charts: share of the answer's words that occur",
        of_truth<needle_word_overlap>},
    {"infinitebench_passkey", "InfiniteBench: whether the first integer is the answer",
        of_truth<infinitebench::first_integer>},
    {"infinitebench_number_string", "InfiniteBench: the same", of_truth<infinitebench::first_integer>},
    {"infinitebench_kv_retrieval", "InfiniteBench: whether the answer is a word",
        of_truth<infinitebench::kv_retrieval>},
    {"infinitebench_longdialogue_qa_eng", "InfiniteBench: whether the first answer is a word",
        of_truth<infinitebench::longdialogue_qa_eng>},
    {"infinitebench_longbook_sum_eng", "InfiniteBench: rougeLsum of the Python package rouge_score",
        of_truth<infinitebench::longbook_sum_eng>},
    {"infinitebench_longbook_choice_eng", "InfiniteBench: the option chosen",
        of_truth<infinitebench::longbook_choice_eng>},
    {"infinitebench_longbook_qa_eng", "InfiniteBench: F1 of words", of_truth<infinitebench::longbook_qa_eng>},
    {"infinitebench_longbook_qa_chn", "InfiniteBench: F1 of characters", of_truth<infinitebench::longbook_qa_chn>},
    {"infinitebench_math_find", "InfiniteBench: whether the first number is the answer",
        of_truth<infinitebench::math_find>},
    {"infinitebench_math_calc", "InfiniteBench: share of the numbers right before the first wrong one",
        math_calc<false>},
    {"infinitebench_math_calc_gpt4", "the same without the first number, as for the model gpt4", math_calc<true>},
    {"infinitebench_code_run", "InfiniteBench: whether the last integer is the answer",
        of_truth<infinitebench::code_run>},
    {"infinitebench_code_debug", "InfiniteBench: the option chosen", of_truth<infinitebench::code_debug>},
};

constexpr Task all_tasks[] = {
    {"narrativeqa", "LongBench", "qa_f1"},
    {"qasper", "LongBench", "qa_f1"},
    {"multifieldqa_en", "LongBench", "qa_f1"},
    {"multifieldqa_zh", "LongBench", "qa_f1_zh"},
    {"hotpotqa", "LongBench", "qa_f1"},
    {"2wikimqa", "LongBench", "qa_f1"},
    {"musique", "LongBench", "qa_f1"},
    {"dureader", "LongBench", "rouge_zh"},
    {"gov_report", "LongBench", "rouge-l"},
    {"qmsum", "LongBench", "rouge-l"},
    {"multi_news", "LongBench", "rouge-l"},
    {"vcsum", "LongBench", "rouge_zh"},
    {"trec", "LongBench", "classification", true},
    {"triviaqa", "LongBench", "qa_f1", true},
    {"samsum", "LongBench", "rouge-l", true},
    {"lsht", "LongBench", "classification", true},
    {"passage_retrieval_en", "LongBench", "retrieval"},
    {"passage_count", "LongBench", "count"},
    {"passage_retrieval_zh", "LongBench", "retrieval_zh"},
    {"lcc", "LongBench", "code_sim"},
    {"repobench-p", "LongBench", "code_sim"},
    {"niah_single_1", "RULER", "string_match_all"},
    {"niah_single_2", "RULER", "string_match_all"},
    {"niah_single_3", "RULER", "string_match_all"},
    {"niah_multikey_1", "RULER", "string_match_all"},
    {"niah_multikey_2", "RULER", "string_match_all"},
    {"niah_multikey_3", "RULER", "string_match_all"},
    {"niah_multivalue", "RULER", "string_match_all"},
    {"niah_multiquery", "RULER", "string_match_all"},
    {"vt", "RULER", "string_match_all"},
    {"cwe", "RULER", "string_match_all"},
    {"fwe", "RULER", "string_match_all"},
    {"qa_1", "RULER", "string_match_part"},
    {"qa_2", "RULER", "string_match_part"},
    {"needle", "needle", "needle_rouge_1"},
    {"kv_retrieval_75_keys", "Lost in the Middle", "string_match_all"},
    {"kv_retrieval_140_keys", "Lost in the Middle", "string_match_all"},
    {"passkey", "InfiniteBench", "infinitebench_passkey"},
    {"number_string", "InfiniteBench", "infinitebench_number_string"},
    {"kv_retrieval", "InfiniteBench", "infinitebench_kv_retrieval"},
    {"longdialogue_qa_eng", "InfiniteBench", "infinitebench_longdialogue_qa_eng"},
    {"longbook_sum_eng", "InfiniteBench", "infinitebench_longbook_sum_eng"},
    {"longbook_choice_eng", "InfiniteBench", "infinitebench_longbook_choice_eng"},
    {"longbook_qa_eng", "InfiniteBench", "infinitebench_longbook_qa_eng"},
    {"longbook_qa_chn", "InfiniteBench", "infinitebench_longbook_qa_chn"},
    {"math_find", "InfiniteBench", "infinitebench_math_find"},
    {"math_calc", "InfiniteBench", "infinitebench_math_calc"},
    {"code_run", "InfiniteBench", "infinitebench_code_run"},
    {"code_debug", "InfiniteBench", "infinitebench_code_debug"},
};

template <typename Named> const Named* find(std::span<const Named> all, std::string_view name)
{
    const auto found = std::ranges::find_if(all, [name](const Named& one) { return one.name == name; });
    return found == all.end() ? nullptr : &*found;
}

/// What InfiniteBench's ground_truth is of a list of strings: numbers where the task has numbers, no list where its
/// scorer takes none.
nlohmann::json truth_of(std::string_view metric, std::span<const std::string> answers)
{
    if (metric == "infinitebench_kv_retrieval" && answers.size() == 1)
        return answers[0];
    const bool numbers = metric == "infinitebench_math_find" || metric.starts_with("infinitebench_math_calc")
        || metric == "infinitebench_code_run";
    nlohmann::json truth = nlohmann::json::array();
    for (const std::string& answer : answers) {
        const bool scalar = answer.find_first_of("[{") == std::string::npos;
        const auto value = numbers && scalar ? nlohmann::json::parse(answer, nullptr, false) : nlohmann::json();
        truth.push_back(value.is_number() ? value : nlohmann::json(answer));
    }
    return truth;
}

} // namespace

std::span<const Metric> metrics()
{
    return all_metrics;
}

std::span<const Task> tasks()
{
    return all_tasks;
}

const Metric* find_metric(std::string_view name)
{
    const Metric* metric = find(metrics(), name == "needle" ? "needle_rouge_1" : name);
    return metric ? metric : find(metrics(), "infinitebench_" + std::string(name));
}

const Task* find_task(std::string_view name)
{
    const Task* task = find(tasks(), name);
    if (!task && name.ends_with("_e"))
        task = find(tasks(), name.substr(0, name.size() - 2));
    return task && name != task->name && task->benchmark != std::string_view("LongBench") ? nullptr : task;
}

double score(const Metric& metric, const Task* task, std::string_view prediction, const nlohmann::json& answers,
    std::span<const std::string> classes, const ChineseWords* words)
{
    const Characters text = characters_of(prediction);
    std::vector<Characters> names;
    for (const std::string& name : classes)
        names.push_back(characters_of(name));
    return metric.score(
        {task && task->first_line_only ? first_line(text) : CharactersView(text), answers, names, words});
}

double score(std::string_view metric, std::string_view task, std::string_view prediction,
    std::span<const std::string> answers, std::span<const std::string> classes, const ChineseWords* words)
{
    const Metric* found = find_metric(metric);
    if (!found)
        throw Error("there is no metric '" + std::string(metric) + "'");
    if (found->cuts_words && !words)
        throw Error(std::string(metric)
            + " needs the words that the Python package jieba cuts Chinese into, which is not there");
    return score(*found, find_task(task), prediction, truth_of(found->name, answers), classes, words);
}

double needle_word_overlap(CharactersView prediction, const nlohmann::json& answers)
{
    const Characters customary = lower(U"eat a sandwich and sit in Dolores Park on a sunny day");
    const std::vector<Characters> said = words_of(replaced(lower(prediction), U".", U" "));
    const std::set<Characters> words(said.begin(), said.end());
    double most = 0;
    for (const Characters& answer : texts_of(answers)) {
        const Characters text = lower(answer);
        const std::vector<Characters> expected
            = words_of(text.find(customary) != Characters::npos ? customary : replaced(text, U".", U" "));
        const std::set<Characters> different(expected.begin(), expected.end());
        const auto found
            = std::ranges::count_if(different, [&](const Characters& word) { return words.contains(word); });
        if (!different.empty())
            most = std::max(most, static_cast<double>(found) / static_cast<double>(different.size()));
    }
    return most;
}

} // namespace lava
