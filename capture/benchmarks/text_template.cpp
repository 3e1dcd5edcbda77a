#include "capture/benchmarks/text_template.h"

#include "base/error.h"

#include <algorithm>
#include <cctype>

namespace lava {

namespace {

std::string_view value_of(const TemplateFields& fields, std::string_view name)
{
    const auto found
        = std::find_if(fields.begin(), fields.end(), [name](const auto& field) { return field.first == name; });
    if (found == fields.end()) {
        throw Error("the template's field {" + std::string(name) + "} is not known");
    }
    return found->second;
}

/// Letters beyond ASCII do not count: Chinese has no spaces between words.
bool is_word(char c)
{
    return (static_cast<unsigned char>(c) & 0x80) == 0 && std::isalnum(static_cast<unsigned char>(c)) != 0;
}

} // namespace

FilledTemplate fill(std::string_view pattern, const TemplateFields& fields)
{
    FilledTemplate result;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const bool doubled = i + 1 < pattern.size() && pattern[i] == pattern[i + 1];
        if ((pattern[i] == '{' || pattern[i] == '}') && doubled) {
            result.text += pattern[i++];
            continue;
        }
        if (pattern[i] != '{') {
            result.text += pattern[i];
            continue;
        }
        const std::size_t end = std::min(pattern.find('}', i), pattern.size());
        const std::string_view name = pattern.substr(i + 1, end - i - 1);
        const std::string_view value = value_of(fields, name);
        if (!value.empty()) {
            result.fields.push_back({std::string(name), {result.text.size(), result.text.size() + value.size()}});
        }
        result.text += value;
        i = end;
    }
    return result;
}

std::optional<ByteRange> find_words(std::string_view text, std::string_view wanted, std::size_t from)
{
    for (std::size_t at = from; !wanted.empty() && (at = text.find(wanted, at)) != std::string_view::npos; ++at) {
        const std::size_t end = at + wanted.size();
        const bool begins = at == 0 || !is_word(text[at - 1]) || !is_word(wanted.front());
        if (begins && (end == text.size() || !is_word(text[end]) || !is_word(wanted.back()))) {
            return ByteRange{at, end};
        }
    }
    return {};
}

} // namespace lava
