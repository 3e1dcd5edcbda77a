#include "replay/policies/protection.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <charconv>

namespace lava {

namespace {

class Protection
{
public:
    Protection(const std::string& policy, const TraceInfo& info)
        : where_("policy " + policy + ": protect: ")
        , info_(info)
        , positions_(static_cast<std::size_t>(info.seq_len), 0)
    { }

    void add(std::string_view item)
    {
        const auto colon = item.find(':');
        const auto kind = item.substr(0, colon);
        const auto value = colon == std::string_view::npos ? std::string_view() : item.substr(colon + 1);
        if (kind == "first") {
            mark(0, tokens(value, item));
        } else if (kind == "last") {
            mark(info_.seq_len - tokens(value, item), info_.seq_len);
        } else if (kind == "span" && !value.empty()) {
            mark_span(value);
        } else {
            malformed(item);
        }
    }

    std::vector<std::uint8_t> positions() && { return std::move(positions_); }

private:
    [[noreturn]] void malformed(std::string_view item) const
    {
        throw UsageError(where_ + "expected first:N, last:N and span:NAME joined by '+', or none, found '"
            + std::string(item) + "'");
    }

    std::int64_t tokens(std::string_view text, std::string_view item) const
    {
        std::int64_t count = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        if (error != std::errc() || end != text.data() + text.size() || count < 1) {
            malformed(item);
        }
        if (count > info_.seq_len) {
            throw Error(formatted("{}expected at most the prompt's {} tokens, found {}", where_, info_.seq_len, item));
        }
        return count;
    }

    void mark(std::int64_t begin, std::int64_t end)
    {
        std::fill(positions_.begin() + begin, positions_.begin() + end, 1);
    }

    void mark_span(std::string_view name)
    {
        bool found = false;
        std::string known;
        for (const auto& span : info_.spans) {
            known += (known.empty() ? "" : ", ") + span.name;
            if (span.name == name) {
                mark(span.begin, span.end);
                found = true;
            }
        }
        if (!found) {
            throw Error(info_.file + ": " + where_ + "no span '" + std::string(name)
                + "'; the trace marks: " + (known.empty() ? "none" : known));
        }
    }

    std::string where_;
    const TraceInfo& info_;
    std::vector<std::uint8_t> positions_;
};

} // namespace

std::vector<std::uint8_t> protected_positions(std::string_view list, const std::string& policy, const TraceInfo& info)
{
    if (list == "none") {
        return {};
    }
    Protection protection(policy, info);
    while (true) {
        const auto plus = list.find('+');
        protection.add(list.substr(0, plus));
        if (plus == std::string_view::npos) {
            return std::move(protection).positions();
        }
        list.remove_prefix(plus + 1);
    }
}

} // namespace lava
