#include "model/official_decoder.h"

#include "base/error.h"
#include "model/tokenizers/json_view.h"

#include <nlohmann/json.hpp>

#include <array>
#include <utility>

namespace lava {

namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int64_t>;

constexpr std::string_view replacement = "\xef\xbf\xbd";

bool is_utf8(const std::string& text)
{
    try {
        require_utf8(text);
        return true;
    } catch (const Error&) {
        return false;
    }
}

/// U+FFFD for each maximal part that is no UTF-8.
std::string lossy(const std::string& text)
{
    return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

bool mentions_byte_fallback(const Json& value)
{
    if (value.is_object() && value.contains("type") && value["type"] == "ByteFallback") {
        return true;
    }
    if (value.is_structured()) {
        for (const auto& item : value.items()) {
            if (mentions_byte_fallback(item.value())) {
                return true;
            }
        }
    }
    return false;
}

bool has_byte_fallback(const std::filesystem::path& folder)
{
    if (!std::filesystem::exists(folder / "tokenizer.json")) {
        return std::filesystem::exists(folder / "tokenizer.model");
    }
    const Json json = read_json(folder / "tokenizer.json");
    return json.is_object() && json.contains("decoder") && mentions_byte_fallback(json["decoder"]);
}

bool asks_for_clean_up(const std::filesystem::path& folder)
{
    const auto file = folder / "tokenizer_config.json";
    if (!std::filesystem::exists(file)) {
        return false;
    }
    const Json json = read_json(file);
    const auto found = json.find("clean_up_tokenization_spaces");
    return found != json.end() && found->is_boolean() && found->get<bool>();
}

/// The bytes of `ids` with U+FFFD for each byte of a run of byte tokens that is no UTF-8.
std::string fallback_text(const Tokenizer& tokenizer, const Ids& ids)
{
    std::string text, run;
    const auto end_run = [&] {
        for (const char c : is_utf8(run) ? std::string() : std::exchange(run, {})) {
            (void)c;
            text += replacement;
        }
        text += std::exchange(run, {});
    };
    // byte tokens stand in the vocabulary in the order of the bytes
    const std::int64_t of_zero = [&] {
        for (const std::int64_t id : ids) {
            const std::string bytes = tokenizer.token_bytes(id);
            if (bytes.size() == 1 && (bytes[0] & 0x80) != 0) {
                return id - static_cast<unsigned char>(bytes[0]);
            }
        }
        return std::int64_t{-1};
    }();
    for (const std::int64_t id : ids) {
        if (tokenizer.decode({id, id}).empty()) {
            continue; // a special token
        }
        const std::string bytes = tokenizer.token_bytes(id);
        if (bytes.size() == 1 && id == of_zero + static_cast<unsigned char>(bytes[0])) {
            run += bytes;
            continue;
        }
        end_run();
        text += bytes;
    }
    end_run();
    return text;
}

/// What transformers calls clean_up_tokenization.
std::string cleaned_up(std::string text)
{
    constexpr auto changes = std::to_array<std::pair<std::string_view, std::string_view>>(
        {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
            {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}});
    for (const auto& [from, to] : changes) {
        std::string result;
        std::size_t done = 0;
        for (std::size_t at = 0; (at = text.find(from, done)) != std::string::npos; done = at + from.size()) {
            result.append(text, done, at - done).append(to);
        }
        text = result.append(text, done);
    }
    return text;
}

} // namespace

OfficialDecoder::OfficialDecoder(const Tokenizer& tokenizer, const std::filesystem::path& model_folder)
    : tokenizer_(tokenizer)
    , byte_fallback_(has_byte_fallback(model_folder))
    , cleans_up_(asks_for_clean_up(model_folder))
{ }

std::string OfficialDecoder::operator()(const Ids& ids) const
{
    std::string text = tokenizer_.decode(ids);
    if (!is_utf8(text) && byte_fallback_) {
        const bool space_dropped = !text.starts_with(' ');
        text = fallback_text(tokenizer_, ids);
        text.erase(0, space_dropped && text.starts_with(' ') ? 1 : 0);
    }
    text = is_utf8(text) ? text : lossy(text);
    return cleans_up_ ? cleaned_up(std::move(text)) : text;
}

} // namespace lava
