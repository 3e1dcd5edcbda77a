#include "capture/summary.h"

#include "traces/recorded_part.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace lava {

namespace {

using Json = nlohmann::json;

std::string joined(const std::vector<std::string>& texts, std::int64_t begin, std::int64_t end)
{
    std::string text;
    for (std::int64_t i = begin; i < std::min<std::int64_t>(end, std::ssize(texts)); ++i) {
        text += texts[static_cast<std::size_t>(i)];
    }
    return text;
}

/// One line in quotes, newlines and the like escaped; a token that ends inside a character shows U+FFFD.
std::string quoted(const std::string& text)
{
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The beginning of a long text.
std::string shortened(const std::string& text)
{
    constexpr std::size_t most = 80;
    if (text.size() <= most) {
        return quoted(text);
    }
    std::size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
        --end;
    }
    return quoted(text.substr(0, end)) + " ...";
}

std::string megabytes(const std::filesystem::path& file)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(std::filesystem::file_size(file)) / 1e6);
    return text;
}

} // namespace

std::string summary_text(const TraceInfo& trace, const std::filesystem::path& weights)
{
    std::ostringstream out;
    out << "model         " << trace.model_name << ": " << trace.shape.num_layers << " layers, "
        << trace.shape.num_heads << " query heads, " << trace.shape.num_kv_heads << " KV heads, head_dim "
        << trace.shape.head_dim << '\n';
    if (is_part(trace)) {
        out << "part          " << part_text(trace) << " of the model\n";
    }
    out << "prompt        " << trace.seq_len << " tokens, the last " << trace.window << " queries recorded\n";
    for (const Span& span : trace.spans) {
        out << "span          " << span.name << ": tokens " << span.begin << ".." << span.end << " ("
            << span.end - span.begin << ") " << shortened(joined(trace.prompt_texts, span.begin, span.end)) << '\n';
    }
    if (trace.eval_len > 0) {
        out << "continuation  " << trace.eval_len << " steps, " << trace.continuation;
        if (!trace.eval_texts.empty()) {
            out << ": " << quoted(joined(trace.eval_texts, 0, trace.eval_len));
        }
        out << '\n';
    }
    out << "trace         " << trace.file << ", " << megabytes(trace.file) << '\n';
    if (!weights.empty()) {
        out << "weights       " << weights.string() << ", " << megabytes(weights) << '\n';
    }
    return out.str();
}

std::string summary_json(const TraceInfo& trace, const std::filesystem::path& weights)
{
    Json spans = Json::array();
    for (const Span& span : trace.spans) {
        spans.push_back({{"name", span.name}, {"begin", span.begin}, {"end", span.end},
            {"text", joined(trace.prompt_texts, span.begin, span.end)}});
    }
    const Json summary = {{"model", trace.model_name}, {"layer_numbers", trace.layer_numbers},
        {"kv_head_numbers", trace.kv_head_numbers}, {"seq_len", trace.seq_len}, {"window", trace.window},
        {"eval_len", trace.eval_len}, {"continuation_source", trace.continuation}, {"continuation_ids", trace.eval_ids},
        {"continuation", joined(trace.eval_texts, 0, trace.eval_len)}, {"spans", spans}, {"trace", trace.file},
        {"trace_bytes", std::filesystem::file_size(trace.file)},
        {"weights", weights.empty() ? Json() : Json(weights.string())}};
    return summary.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace lava
