#include "capture/jobs.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "capture/scoring.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <iomanip>
#include <map>
#include <sstream>

namespace lava {

namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 7> known_keys{
    "prompt", "ids", "chat", "answer_prefix", "reference", "spans", "id"};

std::string text_at(const Json& line, const char* key, const std::string& where)
{
    if (!line.contains(key)) {
        return {};
    }
    if (!line[key].is_string()) {
        throw Error(where + ": " + key + ": expected a string, found " + line[key].dump().substr(0, 40));
    }
    return line[key].get<std::string>();
}

void check_keys(const Json& line, const std::string& where)
{
    if (!line.is_object()) {
        throw Error(where + ": expected a JSON object, found " + line.type_name());
    }
    for (const auto& item : line.items()) {
        if (std::find(known_keys.begin(), known_keys.end(), item.key()) == known_keys.end()
            && !is_scoring_key(item.key())) {
            throw Error(where + ": unknown key " + Json(item.key()).dump()
                + ": expected prompt, ids, chat, answer_prefix, reference, spans or id, or what the answer is scored "
                  "by "
                  "(task, answers, all_classes, max_new_tokens, metric, stop)");
        }
    }
    if (line.contains("prompt") == line.contains("ids")) {
        throw Error(where + ": expected prompt or ids, found " + (line.contains("ids") ? "both" : "neither"));
    }
    if (line.contains("ids") && line.contains("chat")) {
        throw Error(where + ": ids and chat contradict each other: give one");
    }
}

Reference reference_at(const Json& line, const std::string& where)
{
    if (!line.contains("reference")) {
        return {};
    }
    const Json& reference = line["reference"];
    if (reference.is_array()) {
        return ids_of(reference, where + ": reference");
    }
    const std::string text = text_at(line, "reference", where);
    if (text.empty()) {
        throw Error(where + ": reference: expected a text or token ids, found an empty one");
    }
    return text;
}

/// The trace's name: a file name that needs no quoting and stays in its folder.
std::string id_at(const Json& line, std::size_t number, const std::string& where)
{
    if (!line.contains("id")) {
        std::ostringstream name;
        name << std::setfill('0') << std::setw(5) << number;
        return name.str();
    }
    const std::string id = line["id"].is_number_integer() ? line["id"].dump() : text_at(line, "id", where);
    const auto fits
        = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-'; };
    if (id.empty() || id.size() > 200 || id.front() == '.' || id.front() == '-'
        || !std::all_of(id.begin(), id.end(), fits)) {
        throw Error(where + ": id: expected letters, digits, '.', '_' and '-', found " + Json(id).dump().substr(0, 80));
    }
    return id;
}

CaptureJob job_of(const Json& line, std::size_t number, const std::string& where)
{
    check_keys(line, where);
    CaptureJob job;
    job.where = where;
    job.id = id_at(line, number, where);
    if (line.contains("ids")) {
        job.request.source = ids_of(line["ids"], where + ": ids");
    } else {
        job.request.source = text_at(line, "prompt", where);
    }
    if (line.contains("chat") && !line["chat"].is_boolean()) {
        throw Error(where + ": chat: expected true or false, found " + line["chat"].dump().substr(0, 40));
    }
    job.request.chat = line.value("chat", false);
    job.request.answer_prefix = text_at(line, "answer_prefix", where);
    if (line.contains("spans")) {
        job.request.spans = spans_of(line["spans"], where + ": spans");
    }
    job.reference = reference_at(line, where);
    if (const Json scoring = scoring_of(line, where); !scoring.is_null()) {
        job.request.scoring = scoring.dump();
    }
    return job;
}

} // namespace

std::vector<CaptureJob> read_jobs(const std::filesystem::path& file)
{
    std::istringstream lines(read_text(file));
    std::vector<CaptureJob> jobs;
    std::map<std::string, std::size_t> numbers; // id -> number of the line that gives it
    std::string text;
    for (std::size_t number = 1; std::getline(lines, text); ++number) {
        if (text.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        const std::string where = formatted("{}: line {}", file.string(), number);
        const Json line = parse_json(text, where);
        if (line.is_discarded()) {
            throw Error(where + ": expected a JSON object, found " + what_is_no_json(text));
        }
        jobs.push_back(job_of(line, number, where));
        const auto [given, is_new] = numbers.emplace(jobs.back().id, number);
        if (!is_new) {
            throw Error(formatted("{}: id {}: line {} has it, too", where, jobs.back().id, given->second));
        }
    }
    if (jobs.empty()) {
        throw Error(file.string() + ": expected a JSON object a line, found none");
    }
    return jobs;
}

bool needs_tokenizer(const std::vector<CaptureJob>& jobs)
{
    return std::any_of(jobs.begin(), jobs.end(), [](const CaptureJob& job) {
        return !std::holds_alternative<std::vector<std::int64_t>>(job.request.source)
            || !job.request.answer_prefix.empty() || std::holds_alternative<std::string>(job.reference);
    });
}

} // namespace lava
