#include "replay/closed_loop/recorded_predictions.h"

#include "base/formatted.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>

namespace lava {

namespace {

/// Nats by which two runs of one model may differ: both in float32, their products in another order; or one of them,
/// or what it left in the trace, rounded to 11 bits or fewer.
struct Tolerances
{
    double divergence;
    double behind_the_most_likely;
};

Tolerances tolerances(const TraceInfo& info)
{
    const bool rounded = info.run_dtype != "float32" || info.store_type != StoreType::f32;
    return rounded ? Tolerances{0.5, 2} : Tolerances{1e-3, 0.05};
}

std::string sentence(const TraceInfo& info, std::int64_t step, const std::string& found)
{
    return formatted("{}: the model predicts otherwise than recorded: at evaluation step {}, {}, so that tokens, "
                     "logits, keys and values are not all of one run",
        info.file, step, found);
}

std::string rounded(double value)
{
    std::ostringstream text;
    text.precision(3);
    text << value;
    return text.str();
}

/// log_p: [steps, vocab_size]
std::string compare_logits(const Trace& trace, const at::Tensor& log_p)
{
    const auto expected = at::log_softmax(trace.logits().narrow(0, 0, log_p.size(0)).to(at::kDouble), 1);
    const auto divergence = (expected.exp() * (expected - log_p)).sum(1);
    const auto most = tolerances(trace.info()).divergence;
    for (std::int64_t step = 0; step < log_p.size(0); ++step) {
        const auto found = divergence[step].item<double>();
        if (!(found <= most))
            return sentence(trace.info(), step,
                "its logits diverge from /logits by " + rounded(found) + " nats, expected at most " + rounded(most));
    }
    return "";
}

/// log_p: [steps, vocab_size]
std::string compare_ids(const TraceInfo& info, const at::Tensor& log_p)
{
    const auto most = tolerances(info).behind_the_most_likely;
    for (std::int64_t step = 0; step + 1 < log_p.size(0); ++step) {
        const auto next = info.eval_ids[static_cast<std::size_t>(step + 1)];
        const auto likely = log_p[step].max().item<double>(), found = log_p[step][next].item<double>();
        if (!(likely - found <= most))
            return sentence(info, step,
                formatted("token {}, which follows in a greedy run, is {} nats behind the most likely one", next,
                    rounded(likely - found)));
    }
    return "";
}

} // namespace

std::string contradiction(const Trace& trace, const DensePredictions& dense)
{
    const auto& info = trace.info();
    const auto log_p = dense.log_p().narrow(0, 0, std::min(dense.log_p().size(0), info.eval_len)).to(at::kDouble);
    std::string found;
    if (info.has_logits && info.vocab_size == log_p.size(1))
        found = compare_logits(trace, log_p);
    if (found.empty() && info.continuation == "greedy")
        found = compare_ids(info, log_p);
    return found;
}

} // namespace lava
