#include "base/error.h"
#include "base/formatted.h"
#include "base/program.h"
#include "traces/layer_datasets.h"
#include "traces/options.h"
#include "traces/print_dataset.h"
#include "traces/recorded_part.h"
#include "traces/verify.h"

#include <nlohmann/json.hpp>

#include <iomanip>
#include <iostream>
#include <map>

namespace lava {

namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json)
{
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json to_json(const TraceInfo& info)
{
    auto spans = Json::array();
    for (const auto& span : info.spans)
        spans.push_back({{"name", span.name}, {"begin", span.begin}, {"end", span.end}});
    return {{"file", info.file}, {"format_major", info.format_major}, {"format_minor", info.format_minor},
        {"generator", info.generator}, {"model", info.model_name}, {"weights_sha256", info.weights_sha256},
        {"attn_out_at", info.attn_out_at}, {"num_layers", info.shape.num_layers}, {"num_heads", info.shape.num_heads},
        {"num_kv_heads", info.shape.num_kv_heads}, {"head_dim", info.shape.head_dim},
        {"hidden_size", info.shape.hidden_size}, {"vocab_size", info.vocab_size}, {"device", info.device},
        {"dtype", info.run_dtype}, {"store", to_string(info.store_type)}, {"continuation", info.continuation},
        {"tokenization", info.tokenization}, {"seq_len", info.seq_len}, {"eval_len", info.eval_len},
        {"window", info.window}, {"spans", spans}, {"has_losses", info.has_losses}, {"has_outputs", info.has_outputs},
        {"has_observed_attention", info.has_observed_attention}, {"has_query_statistics", info.has_query_statistics},
        {"has_repeat_maxima", info.has_repeat_maxima}, {"has_repeat_maxima_plus", info.has_repeat_maxima_plus},
        {"has_logits", info.has_logits}, {"has_digests", info.has_digests},
        {"next_id", info.next_id < 0 ? Json() : Json(info.next_id)}, {"rope_inv_freq", info.rope_inv_freq},
        {"rope_attention_scaling", info.rope_attention_scaling}, {"layer_numbers", info.layer_numbers},
        {"kv_head_numbers", info.kv_head_numbers}, {"layer_windows", info.layer_windows}};
}

std::string or_unknown(const std::string& text)
{
    return text.empty() ? "unknown" : printable(text);
}

/// A line for the sliding windows; empty where there are none.
std::string windows_text(const TraceInfo& info)
{
    std::map<std::int64_t, std::vector<std::int64_t>> layers_of;
    for (std::size_t layer = 0; layer < info.layer_windows.size(); ++layer)
        if (info.layer_windows[layer] > 0)
            layers_of[info.layer_windows[layer]].push_back(layer_number(info, static_cast<std::int64_t>(layer)));
    std::string text;
    for (const auto& [window, layers] : layers_of)
        text += formatted(
            "{}{} tokens in layers {}", text.empty() ? "\nwindows      " : "; ", window, ranges_text(layers));
    return text;
}

/// " (before the post-attention norm)"; empty where attn_out is what is added to the residual stream.
std::string at_text(const TraceInfo& info)
{
    return info.attn_out_at.empty() ? "" : " (" + printable(info.attn_out_at) + ")";
}

void print_info(const TraceInfo& info)
{
    const auto& shape = info.shape;
    const auto answer = [](bool yes) { return yes ? "yes" : "no"; };
    std::cout << "trace        " << info.file << "\nformat       " << info.format_major << '.' << info.format_minor
              << ", written by " << or_unknown(info.generator) << "\nmodel        " << or_unknown(info.model_name)
              << "\nshape        " << shape.num_layers << " layers, " << shape.num_heads << " query heads, "
              << shape.num_kv_heads << " KV heads, head_dim " << shape.head_dim << ", hidden_size " << shape.hidden_size
              << ", vocab_size " << info.vocab_size << "\nweights      " << or_unknown(info.weights_sha256)
              << windows_text(info) << (is_part(info) ? "\npart         " + part_text(info) + " of the model" : "")
              << "\nrun          " << or_unknown(info.device) << ", " << or_unknown(info.run_dtype) << "; stored as "
              << to_string(info.store_type) << "\nprompt       " << info.seq_len << " tokens, query rows of the last "
              << info.window << "\nevaluation   " << info.eval_len << " steps"
              << (info.continuation.empty() ? "" : ", " + info.continuation) << '\n';
    for (const auto& span : info.spans)
        std::cout << "span         " << span.name << " [" << span.begin << ", " << span.end << ")\n";
    std::cout << "recorded     losses: " << answer(info.has_losses)
              << ", attention outputs: " << answer(info.has_outputs) << at_text(info)
              << ", observed attention: " << answer(info.has_observed_attention)
              << ", logits: " << answer(info.has_logits)
              << "\n             query statistics: " << answer(info.has_query_statistics)
              << ", rotary embedding: " << answer(!info.rope_inv_freq.empty())
              << ", repeat pass: " << answer(info.has_repeat_maxima) << "\ndigests      "
              << (info.has_digests ? "of all datasets and attributes, compared when they are read"
                                   : "none (of the trace or of its weights file): changed bytes are not noticed")
              << '\n';
}

int run(const PrintText& command)
{
    std::cout << command.text;
    return 0;
}

int run(const InfoCommand& command)
{
    const Trace trace(command.trace);
    if (command.check) {
        Progress progress("layers", trace.info().shape.num_layers);
        for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer, progress.step())
            (void)trace.layer(layer);
        if (trace.info().has_logits)
            (void)trace.logits();
    }
    if (command.json)
        std::cout << dump(to_json(trace.info()));
    else
        print_info(trace.info());
    return 0;
}

struct VerifiedLayer
{
    LayerDeviation deviation;
    std::vector<Identity> identities;
};

std::vector<VerifiedLayer> verified_layers(const Trace& trace)
{
    if (!trace.info().has_outputs)
        throw Error(trace.info().file + ": cannot be verified: "
            + (trace.info().has_losses ? "attn_out was not recorded"
                                       : "it has no loss part (q_eval, k_eval, v_eval and w_o of evaluation steps)"));
    Progress progress("layers", trace.info().shape.num_layers);
    std::vector<VerifiedLayer> layers;
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer, progress.step()) {
        const auto view = trace.layer(layer);
        layers.push_back({verify_layer(view), check_identities(view, trace.info())});
    }
    return layers;
}

/// Each identity in the layer that comes nearest to its tolerance or lies farthest beyond it.
std::vector<Identity> worst_identities(const std::vector<VerifiedLayer>& layers)
{
    auto worst = layers.front().identities;
    for (const auto& layer : layers) {
        for (std::size_t i = 0; i < worst.size(); ++i) {
            const auto& here = layer.identities[i];
            if (!(here.deviation * worst[i].tolerance <= worst[i].deviation * here.tolerance))
                worst[i] = here;
        }
    }
    return worst;
}

Json verification_json(const TraceInfo& info, const std::vector<VerifiedLayer>& layers)
{
    auto rows = Json::array(), identities = Json::array();
    for (const auto& layer : layers)
        rows.push_back({{"layer", layer.deviation.layer}, {"deviation", layer.deviation.deviation},
            {"tolerance", layer.deviation.tolerance}});
    for (const auto& identity : worst_identities(layers))
        identities.push_back({{"name", identity.name}, {"what", identity.what}, {"deviation", identity.deviation},
            {"tolerance", identity.tolerance}});
    return {{"file", info.file}, {"store", to_string(info.store_type)}, {"layers", rows}, {"identities", identities},
        {"not_checked", not_checkable(info)}};
}

/// Names of the datasets that are not checked, without the reasons.
std::string not_checked_text(const TraceInfo& info)
{
    std::string text;
    for (const auto& line : not_checkable(info))
        text += (text.empty() ? "" : ", ") + line.substr(0, line.find(':'));
    return text;
}

void print_verification(const TraceInfo& info, const std::vector<VerifiedLayer>& layers)
{
    std::cout << "layer  deviation    tolerance (of attn_out, stored as " << to_string(info.store_type) << ")\n";
    for (const auto& [deviation, identities] : layers)
        std::cout << std::left << std::setw(7) << layer_name(deviation.layer, info.shape.num_layers) << std::setw(13)
                  << deviation.deviation << deviation.tolerance << '\n';
    const auto identities = worst_identities(layers);
    if (!identities.empty())
        std::cout << '\n'
                  << std::setw(55) << "besides, in the worst layer" << std::setw(13) << "deviation"
                  << "tolerance\n";
    for (const auto& identity : identities)
        std::cout << std::setw(55) << identity.name << std::setw(13) << identity.deviation << identity.tolerance
                  << '\n';
    std::cout << "not checked (--json says why): " << not_checked_text(info) << '\n';
}

int run(const VerifyCommand& command)
{
    const Trace trace(command.trace);
    const auto layers = verified_layers(trace);
    if (command.json)
        std::cout << dump(verification_json(trace.info(), layers));
    else
        print_verification(trace.info(), layers);
    for (const auto& [deviation, identities] : layers)
        if (const auto fault = fault_of(deviation, identities); !fault.empty())
            throw Error(formatted("{}: does not verify: layer {}: {}", command.trace.string(), deviation.layer, fault));
    return 0;
}

int run(const PrintCommand& command)
{
    print_dataset(command, std::cout);
    return 0;
}

int run(const SynthCommand& command)
{
    synthesize_trace(command.options, command.output);
    return 0;
}

} // namespace

} // namespace lava

int main(int argc, char** argv)
{
    return lava::run_program("lava-trace", [&] {
        return std::visit([](const auto& command) { return lava::run(command); }, lava::parse_options(argc, argv));
    });
}
