#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace lava {

/// A text with a field for each of `Values`, as fmt has them: `{}`, `{:f}`; `{{` and `}}` stand for braces. A literal
/// with another number of fields does not compile, nor one that leaves open how a number with a fraction is shown.
template <class... Values> class MessagePattern
{
public:
    template <std::size_t size>
    consteval MessagePattern(const char (&literal)[size])
        : text_(literal, size - 1)
    {
        constexpr bool has_fraction[] = {std::floating_point<Values>..., false};
        std::size_t fields = 0;
        for (std::size_t i = 0; i < text_.size(); ++i) {
            const char letter = text_[i], next = i + 1 < text_.size() ? text_[i + 1] : '\0';
            if ((letter == '{' || letter == '}') && next == letter)
                ++i;
            else if (letter == '{' && (fields == sizeof...(Values) || has_fraction[fields++] == (next == '}')))
                throw "expected a field for each value, and {:f} or the like for a number with a fraction alone";
        }
        if (fields != sizeof...(Values))
            throw "expected a field for each value";
    }

    std::string_view text() const { return text_; }

private:
    std::string_view text_;
};

/// What a message can show. A text is looked at, not copied.
using MessageValue = std::variant<std::int64_t, std::uint64_t, double, char, std::string_view>;

template <class Value> MessageValue message_value(const Value& value)
{
    static_assert(!std::same_as<Value, bool>, "a message says in words what is so");
    if constexpr (std::same_as<Value, char>)
        return value;
    else if constexpr (std::floating_point<Value>)
        return static_cast<double>(value);
    else if constexpr (std::signed_integral<Value>)
        return static_cast<std::int64_t>(value);
    else if constexpr (std::unsigned_integral<Value>)
        return static_cast<std::uint64_t>(value);
    else
        return std::string_view(value);
}

std::string formatted_text(std::string_view pattern, std::span<const MessageValue> values);

/// `pattern` with its fields replaced by `values`, as fmt does it. Only formatted.cpp sees fmt's headers: where
/// LibTorch is used, those of its include folder would be found first, which are of another version than the library.
template <class... Values>
std::string formatted(std::type_identity_t<MessagePattern<Values...>> pattern, const Values&... values)
{
    static_assert(sizeof...(Values) > 0, "a text without values needs no pattern");
    const MessageValue shown[] = {message_value(values)...};
    return formatted_text(pattern.text(), shown);
}

} // namespace lava
