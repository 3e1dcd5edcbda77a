#include "model/tokenizers/pre_tokenizer.h"

#include "model/tokenizers/pattern.h"

#include <algorithm>
#include <memory>

namespace lava {

namespace {

/// What becomes of the stretches that a pattern matches.
enum class Delimiter
{
    removed,
    isolated,
    contiguous, ///< isolated, neighbours together
    merged_with_previous,
    merged_with_next
};

struct Stretch
{
    std::size_t begin = 0;
    std::size_t end = 0;
    bool match = false;
};

/// Matches and what lies between them, in order.
std::vector<Stretch> stretches(const Pattern& pattern, std::string_view text, bool invert)
{
    std::vector<Stretch> result;
    std::size_t at = 0;
    for (const ByteRange& match : pattern.find_all(text)) {
        if (at < match.begin) {
            result.push_back({at, match.begin, invert});
        }
        result.push_back({match.begin, match.end, !invert});
        at = match.end;
    }
    if (at < text.size()) {
        result.push_back({at, text.size(), invert});
    }
    return result;
}

std::vector<Stretch> join_contiguous(const std::vector<Stretch>& parts)
{
    std::vector<Stretch> result;
    for (const Stretch& part : parts) {
        if (!result.empty() && result.back().match == part.match) {
            result.back().end = part.end;
        } else {
            result.push_back(part);
        }
    }
    return result;
}

/// A match joins the stretch before it, unless that is a match too.
std::vector<Stretch> join_previous(const std::vector<Stretch>& parts)
{
    std::vector<Stretch> result;
    bool previous = false;
    for (const Stretch& part : parts) {
        if (part.match && !previous && !result.empty()) {
            result.back().end = part.end;
        } else {
            result.push_back(part);
        }
        previous = part.match;
    }
    return result;
}

std::vector<Stretch> join_next(const std::vector<Stretch>& parts)
{
    std::vector<Stretch> result;
    bool next = false;
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (part->match && !next && !result.empty()) {
            result.back().begin = part->begin;
        } else {
            result.push_back(*part);
        }
        next = part->match;
    }
    std::reverse(result.begin(), result.end());
    return result;
}

std::vector<Stretch> arrange(std::vector<Stretch> parts, Delimiter delimiter)
{
    switch (delimiter) {
    case Delimiter::removed:
        std::erase_if(parts, [](const Stretch& part) { return part.match; });
        return parts;
    case Delimiter::isolated:
        return parts;
    case Delimiter::contiguous:
        return join_contiguous(parts);
    case Delimiter::merged_with_previous:
        return join_previous(parts);
    case Delimiter::merged_with_next:
        return join_next(parts);
    }
    return parts;
}

/// Splitting at a pattern.
struct Split
{
    Pattern pattern;
    Delimiter delimiter = Delimiter::isolated;
    bool invert = false;

    std::vector<AlignedText> operator()(const AlignedText& text) const
    {
        std::vector<AlignedText> result;
        for (const Stretch& part : arrange(stretches(pattern, text.text, invert), delimiter)) {
            result.push_back(text.slice(part.begin, part.end));
        }
        return result;
    }
};

Delimiter read_delimiter(const JsonView& json)
{
    const std::string name = json.string();
    if (name == "Removed") {
        return Delimiter::removed;
    }
    if (name == "Isolated") {
        return Delimiter::isolated;
    }
    if (name == "Contiguous") {
        return Delimiter::contiguous;
    }
    if (name == "MergedWithPrevious") {
        return Delimiter::merged_with_previous;
    }
    if (name == "MergedWithNext") {
        return Delimiter::merged_with_next;
    }
    json.refuse("Removed, Isolated, Contiguous, MergedWithPrevious or MergedWithNext");
}

/// Spaces become a visible mark (SentencePiece's), and words begin with it.
struct Metaspace
{
    enum class Prefix
    {
        always,
        first, ///< only where the text itself begins, not behind an added token
        never
    };

    std::string mark;
    Prefix prefix = Prefix::always;
    std::shared_ptr<Split> split; ///< null: the text stays whole

    std::vector<AlignedText> operator()(const AlignedText& text) const
    {
        AlignedText marked;
        for (std::size_t i = 0; i < text.text.size(); ++i) {
            if (text.text[i] == ' ') {
                marked.append(mark, text.sources[i]);
            } else {
                marked.append(text, i, i + 1);
            }
        }
        const bool wanted = prefix == Prefix::always
            || (prefix == Prefix::first && !marked.sources.empty() && marked.sources.front().begin == 0);
        if (wanted && !marked.text.starts_with(mark)) {
            marked.prepend(mark);
        }
        return split ? (*split)(marked) : std::vector<AlignedText>{marked};
    }
};

Metaspace read_metaspace(const JsonView& json)
{
    json.require_known({"type", "replacement", "str_rep", "add_prefix_space", "prepend_scheme", "split"});
    Metaspace result;
    result.mark = json.string("replacement");
    const bool add = json.boolean("add_prefix_space", true); // older files' word for "prepend_scheme"
    result.prefix = add ? Metaspace::Prefix::always : Metaspace::Prefix::never;
    if (const std::optional<JsonView> scheme = json.find("prepend_scheme")) {
        const std::string name = scheme->string();
        const bool known = name == "always" || name == "first" || name == "never";
        if (!known || (!add && name != "never")) { // true says nothing beside it, in the tokenizers library too
            scheme->refuse("always, first or never, and never where add_prefix_space is false");
        }
        result.prefix = name == "always" ? Metaspace::Prefix::always
            : name == "first"            ? Metaspace::Prefix::first
                                         : Metaspace::Prefix::never;
    }
    if (json.boolean("split", true)) {
        const nlohmann::json literal = {{"String", result.mark}};
        result.split = std::make_shared<Split>(
            Split{read_pattern(JsonView(literal, json.file(), json.path())), Delimiter::merged_with_next, false});
    }
    return result;
}

} // namespace

PreTokenizer::PreTokenizer(const JsonView& json)
{
    add(json, 0);
}

void PreTokenizer::add(const JsonView& json, int depth)
{
    if (byte_level_) {
        json.refuse("nothing behind ByteLevel");
    }
    const std::string type = json.type();
    if (type == "Sequence") {
        json.require_known({"type", "pretokenizers"});
        json.require_depth(depth);
        for (const JsonView& element : json.at("pretokenizers").elements()) {
            add(element, depth + 1);
        }
    } else if (type == "ByteLevel") {
        add_byte_level(json);
    } else if (type == "Split") {
        json.require_known({"type", "pattern", "behavior", "invert"});
        const auto split = std::make_shared<Split>(Split{
            read_pattern(json.at("pattern")), read_delimiter(json.at("behavior")), json.boolean("invert", false)});
        steps_.emplace_back([split](const AlignedText& text) { return (*split)(text); });
    } else if (type == "Digits") {
        json.require_known({"type", "individual_digits"});
        const auto delimiter = json.boolean("individual_digits", false) ? Delimiter::isolated : Delimiter::contiguous;
        const auto split = std::make_shared<Split>(Split{Pattern(R"(\p{N})", json.path()), delimiter, false});
        steps_.emplace_back([split](const AlignedText& text) { return (*split)(text); });
    } else if (type == "Metaspace") {
        steps_.emplace_back(read_metaspace(json));
    } else {
        json.refuse("ByteLevel, Split, Digits, Metaspace or Sequence");
    }
}

void PreTokenizer::add_byte_level(const JsonView& json)
{
    json.require_known({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    byte_level_ = true;
    if (json.boolean("add_prefix_space", true)) {
        steps_.emplace_back([](AlignedText text) {
            if (!text.text.starts_with(' ')) {
                text.prepend(" ");
            }
            return std::vector<AlignedText>{std::move(text)};
        });
    }
    if (json.boolean("use_regex", true)) {
        const auto split
            = std::make_shared<Split>(Split{Pattern(gpt2_pattern, json.path()), Delimiter::isolated, false});
        steps_.emplace_back([split](const AlignedText& text) { return (*split)(text); });
    }
}

std::vector<AlignedText> PreTokenizer::operator()(AlignedText text) const
{
    std::vector<AlignedText> words;
    words.push_back(std::move(text));
    for (const Step& step : steps_) {
        std::vector<AlignedText> parts;
        for (AlignedText& word : words) {
            for (AlignedText& part : step(std::move(word))) {
                if (!part.text.empty()) {
                    parts.push_back(std::move(part));
                }
            }
        }
        words = std::move(parts);
    }
    std::erase_if(words, [](const AlignedText& word) { return word.text.empty(); });
    return words;
}

} // namespace lava
