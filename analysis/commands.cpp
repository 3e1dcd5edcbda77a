#include "analysis/commands.h"

#include "analysis/metrics/metric.h"

namespace lava {

namespace {

constexpr const char* losses
    = R"(  head_l1                 ||A - Â||_1 of a query head's attention, both normalised: at most 2
  head_output_*           of (A - Â) V, a head's output before the output projection
  attn_out_*              of the attention output y that is added to the residual stream
  layer_out_*             of the residual stream after the layer (lava-replay --model)
  *_l1, *_l2              means over evaluation steps, and over what the row stands for
  *_relative              a ratio of sums: of the loss over of what it is a loss of, not a mean of ratios
  bound_*, tightness_*    the papers' upper bounds of attn_out_l1, and attn_out_l1 over the bound
)";

constexpr const char* keys = R"(  report, prompt_id       the report's file; the trace's file without folder and ending
  seq_len                 tokens of the prompt
  match                   what a budget is compared by: nominal (the policy's rule was given it), retained (the rule was
                          given the number whose retained total is nearest to it), both (that is the budget itself)
  budget, budget_share    entries per KV head on average, window included; over seq_len
  nominal                 the budget that the policy's rule was given
)";

constexpr const char* closed_loop
    = R"(  kl                      KL(whole cache || evicted) of the next token, nats, mean over the closed loop's steps
  cross_entropy           of the next step's input, nats
  top1_agreement          share of the steps whose most likely token is the whole cache's
  drift_*_relative        of the residual stream from the run with the whole cache, sums over layers and steps
  answer                  what the model says from what is retained (lava-replay --free)
)";

std::string text(std::initializer_list<const char*> parts)
{
    std::string all;
    for (const char* part : parts)
        all += part;
    return all;
}

constexpr const char* scores
    = R"(  score                   0 to 1; with --by sample of a line, else the mean over samples
  score_sd                standard deviation of the samples (n - 1)
  score_low, score_high   95 % interval of the mean, percentile bootstrap of the samples (10,000 resamples, fixed seed)
  percent                 100 times the mean, to two decimals, as the official scorers print it

Lines are LongBench's (pred, answers, all_classes, dataset), InfiniteBench's (id, prediction, ground_truth), RULER's
(pred, outputs) or LAVa's needle (model_response, needle). Metrics are those of the benchmarks' own code, with what is odd
in it: of trec, triviaqa, samsum and lsht the first line counts; rouge-l is 0 where Python's recursion ends, at sentences of
about a thousand words; code_sim is difflib's, as fuzzywuzzy computes it without python-Levenshtein; classes are removed
while their list is walked through. all_classes are each line's own (eval.py takes the last line's for all). Where
an official scorer ends with an exception because of a prediction, that prediction scores 0. All are computed here, without
Python; jieba's dictionary and model are read from that package. --dataset NAME_e is LongBench-E's NAME.

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

std::string metrics_text()
{
    constexpr std::size_t indent = 36;
    constexpr std::size_t width = 120;
    std::string text;
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

std::vector<CommandInfo> make_commands()
{
    return {
        {"table", Command::table, "policies and budgets compared", {"pivot"},
            text({keys,
                "  asked, granted          entries of all heads: what the budget comes to, what the policy's rule "
                "allotted\n"
                "  retained                what is then kept\n",
                losses, closed_loop,
                "  survival_NAME           kept entries of the span NAME over its length times the heads\n"
                "  global_eviction_NAME    share of its tokens that no head keeps\n"}),
            "lava-analyze table report.h5 --pivot attn_out_l1_relative"},
        {"layers", Command::layers, "retained entries and losses of every layer", {"layer"},
            text({keys, "  share                   of what the run retains, the layer's part\n", losses,
                "  drift_*_relative        of the residual stream after the layer, closed loop\n"}),
            "lava-analyze layers report.h5 --policy lava --budget 10% --layer 0-3"},
        {"heads", Command::heads, "losses of every query head", {"layer"},
            text({keys,
                "  head, kv_head           the query head, and the head whose cache it reads\n"
                "  retained                entries of that cache\n",
                losses}),
            "lava-analyze heads report.h5 --policy lava --budget 128 --layer -1"},
        {"budgets", Command::budgets, "retained entries of every KV head", {"layer"},
            text({keys,
                "  kv_head                 the head that keeps a cache: a query head where the policy keeps one for "
                "each\n"}),
            "lava-analyze budgets report.h5 --policy lava --budget 128 --format csv"},
        {"map", Command::map, "percent of the prompt that every KV head keeps, layers down and heads across", {"layer"},
            text({keys, "  0, 1, ...               percent of the prompt that this KV head keeps, rounded\n"}),
            "lava-analyze map report.h5 --policy lava --budget 10% --match retained"},
        {"bounds", Command::bounds, "attention output loss against its upper bounds", {"by", "layer"},
            text({keys, losses}), "lava-analyze bounds report.h5 --budget 128 --by layer"},
        {"spans", Command::spans, "what became of each marked span", {"by", "layer"},
            text({keys,
                "  begin, end              first token of the span, and one past the last\n"
                "  survival                kept entries of the span over its length times the heads looked at\n"
                "  global_eviction         share of its tokens that none of the heads looked at keeps\n"}),
            "lava-analyze spans report.h5 --policy lava --budget 128 --by head --layer 8-11,20"},
        {"gain", Command::gain, "how much less loss one policy leaves than another, nominal and at equal retention",
            {"by", "layer"},
            "  match                   nominal: both rules were given the budget; retained: both retain as much\n"
            "  budget, kept_percent    entries per KV head; percent of the prompt, by which budgets are brought\n"
            "                          together where prompts are of several lengths\n"
            "  reports                 prompts that the means are over, n\n"
            "  retained_base, _other   entries of all heads\n"
            "  attn_out_l1_base, ...   of the layer, mean over n; _sd: standard deviation of the n (n - 1)\n"
            "  gain                    1 - other / base\n"
            "  *_difference            other - base, mean over the prompts; _low, _high: its 95 % interval, "
            "percentile\n"
            "                          bootstrap of the pairs (10,000 resamples, fixed seed)\n",
            "lava-analyze gain reports/*.h5 --policy ada-snapkv --policy lava --budget 10% --layer 0-29"},
        {"summary", Command::summary, "many prompts in one table: loss, KL and exact answers by kept share",
            {"by", "baseline"},
            text(
                {"  kept_percent            budget over prompt length, rounded to whole percent, or as far as a "
                 "report's "
                 "own\n"
                 "                          budgets need to stay apart\n"
                 "  match                   nominal, retained or both (see table)\n"
                 "  reports                 prompts that the means are over; NAME_n where fewer have it\n"
                 "  *_sd                    standard deviation of the n prompts (n - 1)\n"
                 "  retained_share          entries retained over all entries\n"
                 "  attn_out_l1_relative    open loop, of each prompt a ratio of sums over layers and steps\n"
                 "  kl, top1_agreement      closed loop, of each prompt a mean over steps\n"
                 "  exact, dense_exact      prompts whose answer is the reference's, token by token; with the whole "
                 "cache\n"
                 "  rank_correlation        Spearman's, of loss and KL over the policies of the same share and match "
                 "that\n"
                 "                          evict anything; empty for fewer than three, and for both where nominal and "
                 "retained\n"
                 "                          give two numbers (choose one with --match)\n"
                 "  *_difference            from --baseline, prompt by prompt; _low, _high: 95 % interval of the "
                 "mean,\n"
                 "                          percentile bootstrap of the prompts (10,000 resamples, fixed seed); empty "
                 "for\n"
                 "                          one prompt, and too narrow for a few\n"}),
            "lava-analyze summary reports/*.h5 --match retained --baseline snapkv"},
        {"answers", Command::answers, "what the model says from what is retained (lava-replay --closed-loop --free)",
            {},
            text({keys, closed_loop,
                "  same_as_dense           whether the answer is the one with the whole cache (dense_answer)\n"}),
            "lava-analyze answers closed.h5 --budget 10% --match retained"},
        {"retained", Command::retained, "positions that one policy keeps at one budget", {},
            "  positions               of the prompt, from 0, stretches as 0-3,17. As JSON it is what\n"
            "                          lava-replay -p external:file= reads, \"match\" beside the budget\n",
            "lava-analyze retained report.h5 --policy lava --budget 128 --format json"},
        {"curves", Command::curves, "the division over heads that loses least, for lu-kv's file of curves", {"output"},
            "  head_output_l1_relative sum over heads of their loss relative to the layer's, mean over layers\n"
            "  oracle_loss             the same for the same total, divided so that the sum of losses is least\n"
            "  oracle_bound            no division of that total loses less; duality_gap: oracle_loss - oracle_bound\n",
            "lava-analyze curves report.h5 --policy snapkv -o curves.npy"},
        {"score", Command::score, "scores of what a model answered, by the official metrics of its benchmark",
            {"by", "predictions", "dataset", "metric", "jieba"}, text({scores, metrics_text().c_str()}),
            "lava-analyze score --predictions preds/hotpotqa.jsonl --by sample --format json"},
        {"plot", Command::plot, "charts as PNG and SVG, drawn by lava-gui", {"output"}, "",
            "lava-analyze plot report.h5 -o charts"},
    };
}

} // namespace

std::span<const CommandInfo> commands()
{
    static const std::vector<CommandInfo> list = make_commands();
    return list;
}

} // namespace lava
