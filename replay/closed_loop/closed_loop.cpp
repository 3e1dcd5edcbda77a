#include "replay/closed_loop/closed_loop.h"

#include "base/available_memory.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/sizes.h"
#include "compute/norms.h"
#include "replay/closed_loop/closed_loop_rows.h"
#include "replay/closed_loop/decode_batch.h"
#include "replay/closed_loop/recorded_predictions.h"
#include "replay/losses/logit_loss.h"
#include "traces/recorded_part.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <optional>
#include <sstream>

namespace lava {

namespace {

using Ids = std::vector<std::int64_t>;

/// Absolute differences of two residual streams and norms of one, per row, layer and step.
struct Drift
{
    std::vector<double> l1, l2; // [rows, L, S]
};

/// What a teacher-forced pass gathers of every row.
class Measurement
{
public:
    Measurement(const Decoder& decoder, const Ids& inputs, std::size_t rows, std::int64_t num_layers)
        : decoder_(decoder)
        , inputs_(inputs)
        , num_layers_(num_layers)
        , steps_(std::ssize(inputs))
    {
        const auto tokens = rows * inputs.size();
        for (auto* values : {&drift_.l1, &drift_.l2})
            values->resize(tokens * index(num_layers));
        kl_.resize(tokens);
        cross_entropy_.resize(tokens);
        top_ids_.resize(tokens);
    }

    /// The dense row, row 0, comes before the others in every layer.
    void visit(const Tile& tile, std::int64_t layer, const at::Tensor& resid)
    {
        const bool dense = tile.first == 0;
        if (dense)
            dense_ = resid;
        const auto hidden = resid.size(1);
        const auto* others = resid.const_data_ptr<float>();
        for (std::int64_t token = 0; token < resid.size(0); ++token) {
            const auto row = tile.first + token / steps_, step = token % steps_;
            const auto at = index((row * num_layers_ + layer) * steps_ + step);
            const auto* row_of_token = others + token * hidden;
            const auto* of_dense = dense_.const_data_ptr<float>() + step * hidden;
            const auto norms = dense ? norms_of(row_of_token, hidden) : norms_over(hidden, [&](std::int64_t i) {
                return static_cast<double>(row_of_token[i]) - static_cast<double>(of_dense[i]);
            });
            drift_.l1[at] = norms.l1;
            drift_.l2[at] = norms.l2;
        }
        if (layer == num_layers_ - 1)
            predict(tile, resid);
    }

    ClosedLoopDense dense() const
    {
        ClosedLoopDense result;
        result.input_ids = inputs_;
        result.cross_entropy = without_last(predictions_->cross_entropy(), steps_);
        result.top_ids = predictions_->top_ids();
        const auto values = num_layers_ * steps_;
        result.resid_l1.assign(drift_.l1.begin(), drift_.l1.begin() + values);
        result.resid_l2.assign(drift_.l2.begin(), drift_.l2.begin() + values);
        return result;
    }

    const DensePredictions& predictions() const { return *predictions_; }

    /// Adds the row of a policy's next budget.
    void append(std::size_t row, ClosedLoopReplay& replay) const
    {
        const bool dense = row == 0;
        const auto take = [](const auto& from, std::size_t first, std::size_t count, auto& to, bool zero) {
            for (std::size_t i = first; i < first + count; ++i)
                to.push_back(zero ? 0 : from[i]);
        };
        const auto steps = index(steps_), values = index(num_layers_ * steps_);
        take(drift_.l1, row * values, values, replay.drift_l1, dense);
        take(drift_.l2, row * values, values, replay.drift_l2, dense);
        take(kl_, row * steps, steps, replay.kl, dense);
        take(cross_entropy_, row * steps, steps - 1, replay.cross_entropy, false);
        take(top_ids_, row * steps, steps, replay.top_ids, false);
    }

private:
    static std::vector<double> without_last(std::vector<double> values, std::int64_t steps)
    {
        values.resize(index(steps - 1));
        return values;
    }

    void predict(const Tile& tile, const at::Tensor& resid)
    {
        if (tile.first == 0) {
            predictions_.emplace(decoder_, resid, std::span(inputs_).subspan(1));
            std::ranges::copy(predictions_->cross_entropy(), cross_entropy_.begin());
            std::ranges::copy(predictions_->top_ids(), top_ids_.begin());
            return;
        }
        const auto losses = predictions_->losses(resid);
        const auto first = tile.first * steps_;
        std::ranges::copy(losses.kl, kl_.begin() + first);
        std::ranges::copy(losses.cross_entropy, cross_entropy_.begin() + first);
        std::ranges::copy(losses.top_ids, top_ids_.begin() + first);
    }

    const Decoder& decoder_;
    const Ids& inputs_;
    std::int64_t num_layers_;
    std::int64_t steps_;
    at::Tensor dense_; // [S, hidden_size] after the layer under way
    std::optional<DensePredictions> predictions_;
    Drift drift_; // for row 0 the norms of its own stream
    std::vector<double> kl_, cross_entropy_; // [rows, S]
    Ids top_ids_; // [rows, S]
};

/// What the model says from the prompt's recorded keys and values. Nothing where the prompt's tokens are not known.
std::optional<std::int64_t> computed_next(const Trace& trace, const Decoder& decoder, const StopRule& stop, int threads)
{
    const auto& info = trace.info();
    if (info.prompt_ids.empty())
        return std::nullopt;
    const auto rows = dense_row(info, info.seq_len - 1); // the last token of the prompt once more, as the first step
    const DecodeBatch batch(trace, decoder, rows.retained, info.seq_len - 1, threads);
    return batch.generate(std::span(info.prompt_ids).last(1), 1, stop, [] {}).front();
}

/// What the prompt itself leads to: as recorded, or else computed.
std::optional<std::int64_t> next_id(const Trace& trace, const Decoder& decoder, int threads)
{
    const auto& info = trace.info();
    if (info.next_id >= 0)
        return info.next_id;
    if (info.continuation == "greedy")
        return info.eval_ids.front();
    return computed_next(trace, decoder, {}, threads);
}

bool stops(const StopRule& stop, std::int64_t id)
{
    return std::ranges::find(stop.ids, id) != stop.ids.end();
}

/// Inputs of the teacher-forced steps: those recorded, and what the dense run says after them.
Ids forced_inputs(const Trace& trace, const Decoder& decoder, std::int64_t steps, int threads)
{
    const auto& info = trace.info();
    auto inputs = info.eval_ids;
    if (steps <= info.eval_len) {
        inputs.resize(index(steps));
        return inputs;
    }
    const auto rows = dense_row(info, info.seq_len);
    const DecodeBatch batch(trace, decoder, rows.retained, info.seq_len, threads);
    const auto predicted = batch.generate(inputs, steps - 1, {}, [] {});
    inputs.insert(inputs.end(), predicted.begin() + info.eval_len - 1, predicted.end());
    return inputs;
}

/// The steps attend as the trace says; the model must not see more or less of so many tokens.
void check_windows(const TraceInfo& info, const ModelConfig& config, std::int64_t tokens)
{
    const auto seen = [tokens](std::int64_t window) { return window == 0 ? tokens : std::min(window, tokens); };
    for (std::size_t layer = 0; layer < config.layer_window.size(); ++layer) {
        const auto recorded = info.layer_windows.empty() ? 0 : info.layer_windows[layer];
        if (seen(recorded) != seen(config.layer_window[layer]))
            throw Error(formatted(
                "{}: /model/layer_windows: expected the model's sliding window of {} in layer {}, found {} (0: none)",
                info.file, config.layer_window[layer], layer, recorded));
    }
}

/// The first token of every answer: what the prompt leads to, other than a token that may not come yet.
std::int64_t first_of_answers(
    const Trace& trace, const Decoder& decoder, std::optional<std::int64_t> next, const StopRule& stop, int threads)
{
    if (next && stop.min_new_tokens > 0 && stops(stop, *next))
        next = computed_next(trace, decoder, stop, threads);
    if (!next)
        throw Error(
            trace.info().file + ": no prompt_ids recorded, which --free needs to find the first token of the answer");
    return *next;
}

/// Every row's own answer, [rows, rule.length]: the first token is the prefill's and the same for all.
Ids answers(const DecodeBatch& batch, std::size_t rows, std::int64_t first, const AnswerRule& rule,
    const std::function<void()>& progress)
{
    const auto length = index(rule.length);
    Ids ids(rows * length, -1);
    for (std::size_t row = 0; row < rows; ++row)
        ids[row * length] = first;
    if (length == 1 || stops(rule.stop, first))
        return ids;
    const StopRule of_others{rule.stop.ids, rule.stop.min_new_tokens - 1};
    const auto predicted = batch.generate(Ids{first}, rule.length - 1, of_others, progress);
    for (std::size_t row = 0; row < rows; ++row)
        std::copy_n(predicted.begin() + static_cast<std::ptrdiff_t>(row * (length - 1)), length - 1,
            ids.begin() + static_cast<std::ptrdiff_t>(row * length + 1));
    return ids;
}

void check_ids(const std::string& file, const char* dataset, const Ids& ids, std::int64_t vocab)
{
    for (const auto id : ids) {
        if (id < 0 || id >= vocab)
            throw Error(formatted("{}: {}: expected token ids from 0 to {} (the model's vocabulary), found {}", file,
                dataset, vocab - 1, id));
    }
}

} // namespace

Decoder open_model_of(const Trace& trace, const std::filesystem::path& folder)
{
    const auto& info = trace.info();
    if (is_part(info))
        throw Error(info.file + ": holds " + part_text(info)
            + " of the model only; --model, and with it losses of layer outputs and the closed loop, needs all of it");
    const Checkpoint checkpoint(folder);
    if (!(checkpoint.config().shape == info.shape)) {
        throw Error(formatted("--model: {} is not the model of {}: expected {} layers, {} query heads, {} KV heads of "
                              "{}, found {}, {}, {}, {}",
            folder.string(), info.file, info.shape.num_layers, info.shape.num_heads, info.shape.num_kv_heads,
            info.shape.head_dim, checkpoint.config().shape.num_layers, checkpoint.config().shape.num_heads,
            checkpoint.config().shape.num_kv_heads, checkpoint.config().shape.head_dim));
    }
    if (info.weights_sha256.empty())
        throw Error(info.file + ": no weights_sha256 recorded, so that --model cannot be checked against it");
    const auto found = checkpoint.sha256();
    if (found != info.weights_sha256)
        throw Error("--model: " + folder.string() + " is not the model of " + info.file
            + ": expected weights with SHA-256 " + info.weights_sha256 + ", found " + found);
    check_ids(info.file, "/tokens/prompt_ids", info.prompt_ids, checkpoint.config().vocab_size);
    check_ids(info.file, "/tokens/eval_ids", info.eval_ids, checkpoint.config().vocab_size);
    return Decoder(checkpoint, {.device = "cpu", .dtype = "float32"});
}

namespace {

std::int64_t forced_steps(const TraceInfo& info, const ClosedLoopOptions& options)
{
    return options.steps > 0 ? options.steps : info.eval_len;
}

AnswerRule answer_rule_of(const TraceInfo& info, const ModelConfig& config, const ClosedLoopOptions& options)
{
    return options.free ? answer_rule(info, config, options.answer_length, forced_steps(info, options)) : AnswerRule{};
}

std::string gigabytes(double bytes)
{
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << bytes / 1e9 << " GB";
    return text.str();
}

void check_memory(const TraceInfo& info, std::int64_t rows, std::int64_t length)
{
    if (length < 2)
        return;
    const auto needed = answer_memory(info.shape, rows, length);
    const auto found = static_cast<double>(available_memory());
    if (needed.bytes > found)
        throw Error(info.file + ": keys and values of " + std::to_string(needed.rows) + " answers of "
            + std::to_string(length) + " tokens at once: expected " + gigabytes(needed.bytes)
            + " of free memory, found " + gigabytes(found) + "; --free=N asks for shorter answers");
}

/// Adds what every cell, and the dense run, answers by itself.
void add_answers(const DecodeBatch& batch, const ClosedLoopRows& rows, std::int64_t first, const AnswerRule& rule,
    ReplayReport& report, const std::function<void()>& progress)
{
    const auto ids = answers(batch, rows.retained.size(), first, rule, progress);
    const auto append = [&](Ids& to, std::size_t row) {
        const auto answer = std::span(ids).subspan(row * index(rule.length), index(rule.length));
        to.insert(to.end(), answer.begin(), answer.end());
    };
    append(report.closed_loop.generated_ids, 0);
    for (std::size_t p = 0; p < report.policies.size(); ++p)
        for (const auto row : rows.of_cell[p])
            append(report.policies[p].closed_loop.generated_ids, row);
}

/// Teacher-forced: what becomes of the predictions in every cell.
void add_predictions(const Trace& trace, const Decoder& decoder, const DecodeBatch& batch, const ClosedLoopRows& rows,
    const Ids& inputs, ReplayReport& report, const ReplayObserver& observer)
{
    Measurement measurement(decoder, inputs, rows.retained.size(), trace.info().shape.num_layers);
    batch.run(
        inputs,
        [&](const Tile& tile, std::int64_t layer, const at::Tensor& resid) { measurement.visit(tile, layer, resid); },
        observer.step);
    if (const auto found = contradiction(trace, measurement.predictions()); !found.empty())
        observer.note(found);
    report.closed_loop = measurement.dense();
    for (std::size_t p = 0; p < report.policies.size(); ++p) {
        auto& replay = report.policies[p].closed_loop = {};
        for (const auto row : rows.of_cell[p])
            measurement.append(row, replay);
    }
}

} // namespace

void check_closed_loop(const Trace& trace, const Decoder& decoder, const ClosedLoopOptions& options)
{
    const auto& info = trace.info();
    if (info.eval_ids.empty())
        throw Error(info.file + ": no eval_ids recorded, the tokens that the closed loop starts from");
    const auto length = answer_rule_of(info, decoder.config(), options).length;
    const auto steps = std::max(forced_steps(info, options), length);
    check_length(decoder.config(), info.seq_len, steps);
    check_windows(info, decoder.config(), info.seq_len + steps);
    check_memory(info, 1, length);
}

void add_closed_loop(const Trace& trace, const Decoder& decoder, const ClosedLoopOptions& options, ReplayReport& report,
    const ReplayObserver& observer)
{
    const c10::InferenceMode inference;
    const auto& info = trace.info();
    check_closed_loop(trace, decoder, options);
    const auto rule = answer_rule_of(info, decoder.config(), options);
    const auto next = next_id(trace, decoder, options.threads);
    const auto first = options.free ? first_of_answers(trace, decoder, next, rule.stop, options.threads) : -1;
    if (!next)
        observer.note("whether answers are exact stays open: the trace records neither next_id nor prompt_ids, so what "
                      "the prompt itself leads to is not known");
    const auto rows = closed_loop_rows(report);
    check_memory(info, std::ssize(rows.retained), rule.length);
    const DecodeBatch batch(trace, decoder, rows.retained, info.seq_len, options.threads);
    const auto free_steps = rule.length > 1 ? batch.generate_progress(rule.length - 1) : 0;
    observer.begin(static_cast<long>(info.shape.num_layers + free_steps));
    const auto inputs = forced_inputs(trace, decoder, forced_steps(info, options), options.threads);
    add_predictions(trace, decoder, batch, rows, inputs, report, observer);
    report.closed_loop.next_id = next.value_or(-1);
    report.closed_loop.end_ids = decoder.config().eos_token_ids;
    if (options.free)
        add_answers(batch, rows, first, rule, report, observer.step);
}

} // namespace lava
