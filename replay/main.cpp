#include "analysis/closed_loop_statistics.h"
#include "analysis/selection.h"
#include "analysis/tables.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/output_file.h"
#include "base/output_guard.h"
#include "base/program.h"
#include "model/tokenizer.h"
#include "replay/closed_loop/answer_texts.h"
#include "replay/closed_loop/closed_loop.h"
#include "replay/options.h"
#include "replay/replay.h"
#include "traces/recorded_part.h"

#include <ATen/Parallel.h>

#include <array>
#include <filesystem>
#include <iostream>
#include <optional>
#include <vector>

namespace {

using namespace lava;

// Files that the policies read, those of policies inside policies included.
void add_files(const PolicySpec& spec, std::vector<std::filesystem::path>& files)
{
    for (const auto& parameter : spec.info->parameters) {
        if (!spec.params.has(parameter.name)) {
            continue;
        }
        const std::string& value = spec.params.text(parameter.name);
        if (parameter.kind == ParameterInfo::Kind::file) {
            files.emplace_back(value);
        } else if (parameter.kind == ParameterInfo::Kind::policy) {
            add_files(parse_policy(value), files);
        }
    }
}

// Before any work: an output that cannot be written, or that would replace what is read.
void check_outputs(const ReplayCommand& command)
{
    std::vector<std::filesystem::path> inputs = files_of_trace(command.trace);
    if (!command.model.empty()) {
        const auto model = files_of_model(command.model);
        inputs.insert(inputs.end(), model.begin(), model.end());
    }
    for (const auto& spec : command.policies) {
        add_files(spec, inputs);
    }
    const std::array outputs{command.output, command.csv, command.json};
    refuse_same_files(outputs, inputs);
    for (const auto& output : outputs) {
        if (!output.empty() && !is_device_or_pipe(output)) {
            const OutputFile writable(output);
        }
    }
}

// The closed loop decodes from the recorded values.
void refuse_changed_values(const std::vector<PolicySpec>& policies)
{
    for (const auto& spec : policies) {
        if (spec.make()->changes_values()) {
            throw UsageError("--model: expected policies that keep values as they are, found " + spec.canonical);
        }
    }
}

ClosedLoopOptions closed_loop_options(const ReplayCommand& command)
{
    return {command.steps, command.free, command.answer_length, command.threads};
}

void run_closed_loop(const Trace& trace, const Decoder& model, const ReplayCommand& command, ReplayReport& report,
    const ReplayObserver& observer)
{
    add_closed_loop(trace, model, closed_loop_options(command), report, observer);
    try {
        const auto tokenizer = read_tokenizer(command.model);
        name_tokens(*tokenizer, report);
        decode_answers(OfficialDecoder(*tokenizer, command.model), report);
    } catch (const Error& error) {
        observer.note("answers are token ids without text: " + std::string(error.what()));
    }
}

ReplayReport replay_trace(const ReplayCommand& command)
{
    at::set_num_threads(1); // replay() has its own threads
    const auto& device = device_of(command.device);
    const Trace trace(command.trace);
    std::optional<Decoder> model;
    if (!command.model.empty()) {
        refuse_changed_values(command.policies);
        model.emplace(open_model_of(trace, command.model)); // before any work: it may be the wrong one
        if (command.closed_loop) {
            check_closed_loop(trace, *model, closed_loop_options(command));
        }
    }
    std::optional<Progress> progress;
    ReplayObserver observer;
    observer.note = [](const std::string& note) { std::cerr << "lava-replay: note: " << note << '\n'; };
    observer.begin = [&](long steps) { progress.emplace("replaying", steps); };
    observer.step = [&] { progress->step(); };
    auto report = replay(trace,
        {command.policies, command.budgets, command.threads, command.match, command.verify,
            model && command.layer_output ? &*model : nullptr, device},
        observer);
    if (command.closed_loop) {
        progress.reset();
        observer.begin = [&](long steps) { progress.emplace("decoding", steps); };
        run_closed_loop(trace, *model, command, report, observer);
    }
    return report;
}

void write_outputs(const ReplayCommand& command, const ReplayReport& report)
{
    if (!command.output.empty()) {
        write_report(command.output, report, command.rankings, command.threads);
    }
    if (command.csv.empty() && command.json.empty()) {
        return;
    }
    const auto table = comparison_table(all_cells(report));
    if (!command.csv.empty()) {
        write_text_file(command.csv, to_csv(table));
    }
    if (!command.json.empty()) {
        write_text_file(command.json, to_json(table));
    }
}

std::string counted(std::size_t count, const char* one, const char* many)
{
    return formatted("{} {}", count, count == 1 ? one : many);
}

void print_summary(const ReplayCommand& command, const ReplayReport& report)
{
    std::size_t cells = 0;
    for (const auto& policy : report.policies) {
        cells += policy.budgets.size();
    }
    std::cout << command.trace.string() << ": " << report.trace.seq_len << " tokens, " << report.trace.shape.num_layers
              << " layers x " << report.trace.shape.num_kv_heads << " KV heads"
              << (is_part(report.trace) ? " (" + part_text(report.trace) + " of the model)" : "") << "; "
              << counted(report.policies.size(), "policy", "policies") << ", " << counted(cells, "cell", "cells")
              << (report.has_losses() ? formatted(", open-loop losses over {} steps", report.trace.eval_len) : "")
              << (report.has_losses() && !report.trace.attn_out_at.empty()
                         ? ", attention outputs " + printable(report.trace.attn_out_at)
                         : "")
              << closed_loop_text(report) << '\n';
    for (const auto& file : {command.output, command.csv, command.json}) {
        if (!file.empty()) {
            std::cout << file.string() << '\n';
        }
    }
}

int run(int argc, char** argv)
{
    const auto command = parse_options(argc, argv);
    switch (command.action) {
    case ReplayCommand::Action::print_text:
        std::cout << command.text;
        return 0;
    case ReplayCommand::Action::list_policies:
        std::cout << policy_list(command.list_format);
        return 0;
    case ReplayCommand::Action::replay:
        break;
    }
    check_outputs(command);
    const auto report = replay_trace(command);
    write_outputs(command, report);
    print_summary(command, report);
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    return lava::run_program("lava-replay", [&] { return run(argc, argv); });
}
