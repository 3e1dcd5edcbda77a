#pragma once

#include "model/tokenizer.h"
#include "traces/trace_info.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lava {

/// A named stretch of the prompt's text: half-open characters (Unicode code points).
struct TextSpan
{
    std::string name;
    std::int64_t begin = 0;
    std::int64_t end = 0;
};

/// A sentence planted in a long text, and the question about it.
struct NeedleRequest
{
    std::string haystack; ///< its white space is collapsed: where a book breaks its lines means nothing to a reader
    std::string needle;
    std::string question;
    double depth = 0.5; ///< 0: before the haystack's first sentence, 1: after its last
    std::int64_t tokens = 0; ///< most tokens of the whole prompt
    std::string haystack_name; ///< the file it came from, for the record
};

struct PromptRequest
{
    std::variant<std::string, std::vector<std::int64_t>, NeedleRequest> source; ///< text, ids, or a needle to plant
    bool chat = false; ///< the text is what the user says, in the model's chat template
    std::string answer_prefix = {}; ///< tokenized by itself and appended; empty: none
    std::vector<TextSpan> spans = {}; ///< of a prompt given as text; of one given as ids, in tokens
    std::string scoring = {}; ///< JSON: what its answer is scored by (capture/scoring.h); empty: nothing
};

struct Prompt
{
    std::vector<std::int64_t> ids;
    std::vector<std::string> texts; ///< bytes of each token; empty where there is no tokenizer
    std::vector<Span> spans; ///< in tokens
    std::string tokenization; ///< JSON: how the ids came about
};

/// `tokenizer` may be null where ids are given and no answer prefix. A token belongs to a span if it overlaps it. A
/// planted needle gives the spans haystack (the whole text, needle included), needle and question. Throws Error where
/// the prompt is empty, a span does not fit or a haystack leaves no room.
Prompt build_prompt(const Tokenizer* tokenizer, const PromptRequest& request);

/// Bytes of each token; empty for ids beyond a vocabulary that the model has padded.
std::vector<std::string> token_texts(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids);

/// Whole text of a file. Throws Error naming it where it cannot be read or is not UTF-8.
std::string read_text(const std::filesystem::path& file);

/// A JSON array of token ids. Throws Error naming the file and the offending element.
std::vector<std::int64_t> read_ids(const std::filesystem::path& file);

/// [{"name", "begin", "end"}, ...]. Throws Error naming the file and what is wrong.
std::vector<TextSpan> read_spans(const std::filesystem::path& file);

/// Token ids and spans in JSON that is read already; `where` names its place in errors.
std::vector<std::int64_t> ids_of(const nlohmann::json& json, const std::string& where);
std::vector<TextSpan> spans_of(const nlohmann::json& json, const std::string& where);

} // namespace lava
