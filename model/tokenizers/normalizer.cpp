#include "model/tokenizers/normalizer.h"

#include "base/error.h"
#include "base/formatted.h"
#include "model/tokenizers/pattern.h"

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>

#include <memory>

namespace lava {

namespace {

const icu::Normalizer2& unicode_form(const std::string& name)
{
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* form = name == "NFC" ? icu::Normalizer2::getNFCInstance(status)
        : name == "NFD"                          ? icu::Normalizer2::getNFDInstance(status)
        : name == "NFKC"                         ? icu::Normalizer2::getNFKCInstance(status)
                                                 : icu::Normalizer2::getNFKDInstance(status);
    if (U_FAILURE(status)) {
        throw Error(std::string("ICU has no data for ") + name + ": " + u_errorName(status));
    }
    return *form;
}

AlignedText normalize(const icu::Normalizer2& form, const AlignedText& text)
{
    UErrorCode status = U_ZERO_ERROR;
    icu::Edits edits;
    std::string bytes;
    icu::StringByteSink<std::string> sink(&bytes);
    form.normalizeUTF8(
        0, icu::StringPiece(text.text.data(), static_cast<std::int32_t>(text.text.size())), sink, &edits, status);
    AlignedText result;
    for (auto edit = edits.getFineIterator(); U_SUCCESS(status) && edit.next(status) != 0;) {
        const auto begin = static_cast<std::size_t>(edit.sourceIndex());
        const std::size_t end = begin + static_cast<std::size_t>(edit.oldLength());
        if (edit.hasChange() == 0) {
            result.append(text, begin, end);
        } else if (begin < end) {
            const std::string_view after(bytes);
            result.append(after.substr(static_cast<std::size_t>(edit.destinationIndex()),
                              static_cast<std::size_t>(edit.newLength())),
                text.source(begin, end));
        }
    }
    if (U_FAILURE(status) || result.text != bytes) {
        throw Error(std::string("a text could not be brought into a Unicode normal form: ") + u_errorName(status));
    }
    return result;
}

AlignedText replace(const Pattern& pattern, const std::string& content, const AlignedText& text)
{
    AlignedText result;
    std::size_t at = 0;
    for (const ByteRange& match : pattern.find_all(text.text)) {
        result.append(text, at, match.begin);
        if (match.begin < match.end) {
            result.append(content, text.source(match.begin, match.end));
        }
        at = match.end;
    }
    result.append(text, at, text.text.size());
    return result;
}

} // namespace

Normalizer::Normalizer(const JsonView& json)
{
    add(json, 0);
}

void Normalizer::add(const JsonView& json, int depth)
{
    const std::string type = json.type();
    if (type == "Sequence") {
        json.require_known({"type", "normalizers"});
        json.require_depth(depth);
        for (const JsonView& element : json.at("normalizers").elements()) {
            add(element, depth + 1);
        }
    } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
        json.require_known({"type"});
        const icu::Normalizer2& form = unicode_form(type);
        steps_.emplace_back([&form](AlignedText text) { return normalize(form, text); });
    } else if (type == "Prepend") {
        json.require_known({"type", "prepend"});
        steps_.emplace_back([prefix = json.string("prepend")](AlignedText text) {
            text.prepend(prefix);
            return text;
        });
    } else if (type == "Replace") {
        json.require_known({"type", "pattern", "content"});
        const auto pattern = std::make_shared<Pattern>(read_pattern(json.at("pattern")));
        steps_.emplace_back(
            [pattern, content = json.string("content")](AlignedText text) { return replace(*pattern, content, text); });
    } else {
        json.refuse("NFC, NFD, NFKC, NFKD, Prepend, Replace or Sequence");
    }
}

AlignedText Normalizer::operator()(AlignedText text) const
{
    constexpr std::size_t most = 64; // longer than any real normal form makes a text
    const std::size_t size = text.text.size();
    for (const auto& step : steps_) {
        text = step(std::move(text));
        if (text.text.size() / most > size + 1) {
            throw Error(formatted("the tokenizer's normalizer makes more than {} bytes of one", most));
        }
    }
    return text;
}

} // namespace lava
