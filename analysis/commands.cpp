#include "analysis/commands.h"

#include "analysis/metrics/metric.h"

namespace lava {

namespace {

/// What score reads and how it scores.
constexpr const char* scores
    = R"(Reports are those of prompts that lava-prompts --benchmark made and lava-capture --prompts recorded, replayed with
lava-replay --closed-loop --free. A row is a policy's at one share of the prompts: the mean of the samples, beside it that
of the answers from the whole cache; where a benchmark has several tasks, rows of "all" are the mean of the tasks' means.

Lines of predictions are LongBench's (pred, answers, all_classes, dataset), InfiniteBench's (id, prediction,
ground_truth), RULER's (pred, outputs) or LAVa's needle (model_response, needle).

Metrics are those of the benchmarks' own code, with what is odd in it: of trec, triviaqa, samsum and lsht the first line
counts; rouge-l is 0 where Python's recursion ends, at sentences of about a thousand words; code_sim is difflib's, as
fuzzywuzzy computes it without python-Levenshtein; classes are removed while their list is walked through. all_classes are
each line's own (eval.py takes the last line's for all). Where an official scorer ends with an exception because of a
prediction, that prediction scores 0. All are computed here, without Python; jieba's dictionary and model are read from that
package. --dataset NAME_e is LongBench-E's NAME.

Metrics:
)";

/// The tasks of a metric, unless it is named after them.
std::vector<std::string> tasks_of(const Metric& metric)
{
    std::vector<std::string> names;
    for (const Task& task : tasks()) {
        if (task.metric == std::string_view(metric.name) && !std::string_view(task.metric).ends_with(task.name))
            names.push_back(task.name);
    }
    return names;
}

std::string score_details()
{
    constexpr std::size_t indent = 36;
    constexpr std::size_t width = 120;
    std::string text = scores;
    for (const Metric& metric : metrics()) {
        const std::string name = std::string("  ") + metric.name;
        std::string line = name + std::string(indent - name.size(), ' ') + metric.meaning;
        for (const std::string& task : tasks_of(metric)) {
            const bool first = line.back() != ',';
            if (first || line.size() + 1 + task.size() >= width) {
                text += line + "\n";
                line = std::string(indent, ' ') + (first ? "of" : "  ");
            }
            line += " " + task + ",";
        }
        if (line.back() == ',')
            line.pop_back();
        text += line + "\n";
    }
    return text;
}

std::string plot_details()
{
    return "lava-gui draws them. Of one report: losses against the budget, and what each policy keeps. Of several: "
           "the\n"
           "scores of the model's answers (lava-analyze score) against the budget, with a baseline the prompts won "
           "and\n"
           "lost, and of needles maps of length and depth, these at --budget or at the middle one; --match is "
           "retained\n"
           "unless it is given.\n";
}

std::vector<CommandInfo> make_commands()
{
    return {
        {"table", Command::table, "policies and budgets compared", {"pivot"},
            "lava-analyze table report.h5 --pivot attn_out_l1_relative"},
        {"layers", Command::layers, "retained entries and losses of every layer", {"layer"},
            "lava-analyze layers report.h5 --policy lava --budget 10% --layer 0-3"},
        {"heads", Command::heads, "losses of every query head", {"layer"},
            "lava-analyze heads report.h5 --policy lava --budget 128 --layer -1"},
        {"budgets", Command::budgets, "retained entries of every KV head", {"layer"},
            "lava-analyze budgets report.h5 --policy lava --budget 128 --format csv"},
        {"map", Command::map, "percent of the prompt that every KV head keeps, layers down and heads across", {"layer"},
            "lava-analyze map report.h5 --policy lava --budget 10% --match retained"},
        {"bounds", Command::bounds, "attention output loss against its upper bounds", {"by", "layer"},
            "lava-analyze bounds report.h5 --budget 128 --by layer"},
        {"spans", Command::spans, "what became of each marked span", {"by", "layer"},
            "lava-analyze spans report.h5 --policy lava --budget 128 --by head --layer 8-11,20"},
        {"gain", Command::gain, "how much less loss one policy leaves than another, nominal and at equal retention",
            {"by", "layer"},
            "lava-analyze gain reports/*.h5 --policy ada-snapkv --policy lava --budget 10% --layer 0-29"},
        {"summary", Command::summary, "many prompts in one table: loss, KL and exact answers by kept share",
            {"by", "baseline"}, "lava-analyze summary reports/*.h5 --match retained --baseline snapkv"},
        {"answers", Command::answers, "what the model says from what is retained (lava-replay --closed-loop --free)",
            {}, "lava-analyze answers closed.h5 --budget 10% --match retained"},
        {"retained", Command::retained, "positions that one policy keeps at one budget", {},
            "lava-analyze retained report.h5 --policy lava --budget 128 --format json"},
        {"curves", Command::curves, "the division over heads that loses least, for lu-kv's file of curves", {"output"},
            "lava-analyze curves report.h5 --policy snapkv -o curves.npy"},
        {"score", Command::score, "scores of what a model answered, by the official metrics of its benchmark",
            {"by", "baseline", "predictions", "dataset", "metric", "jieba"},
            "lava-analyze score reports/*.h5 --match retained --baseline lava\n"
            "  lava-analyze score --predictions preds/hotpotqa.jsonl --by sample --format json",
            score_details},
        {"plot", Command::plot, "charts of a report, or of several reports' scores, as PNG, SVG, PDF and CSV",
            {"baseline", "output"},
            "lava-analyze plot report.h5 -o charts\n"
            "  lava-analyze plot reports/*.h5 --baseline snapkv -o charts",
            plot_details},
        {"columns", Command::columns, "what the columns of all tables, or of those named, mean", {},
            "lava-analyze columns table gain --format markdown"},
    };
}

} // namespace

std::span<const CommandInfo> commands()
{
    static const std::vector<CommandInfo> list = make_commands();
    return list;
}

} // namespace lava
