#include "replay/policies/parameters.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace lava {

namespace {

constexpr auto largest_integer = std::numeric_limits<std::int64_t>::max();

template <typename Number> bool parse_whole(std::string_view text, Number& number)
{
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

std::string shortest(double value)
{
    char buffer[32];
    const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
    return {buffer, result.ptr};
}

std::string range(const ParameterInfo& info)
{
    if (info.maximum >= static_cast<double>(largest_integer)) {
        return " of at least " + shortest(info.minimum);
    }
    return " from " + shortest(info.minimum) + " to " + shortest(info.maximum);
}

std::string expectation(const ParameterInfo& info)
{
    switch (info.kind) {
    case ParameterInfo::Kind::integer:
        return "a whole number" + range(info);
    case ParameterInfo::Kind::odd:
        return "an odd number" + range(info);
    case ParameterInfo::Kind::real:
        return "a number" + range(info);
    case ParameterInfo::Kind::choice:
        return "one of " + joined(info.choices);
    case ParameterInfo::Kind::text:
        return "a value";
    case ParameterInfo::Kind::policy:
        return "a policy, in brackets where it has parameters of its own";
    case ParameterInfo::Kind::file:
        break;
    }
    return "a file name";
}

// The value in canonical form; empty where it is not what the parameter takes.
std::string canonical_integer(const ParameterInfo& info, std::string_view value)
{
    std::int64_t number = 0;
    const bool fits = parse_whole(value, number) && static_cast<double>(number) >= info.minimum
        && static_cast<double>(number) <= info.maximum;
    const bool odd_enough = info.kind != ParameterInfo::Kind::odd || number % 2 == 1;
    return fits && odd_enough ? std::to_string(number) : std::string();
}

std::string canonical(const ParameterInfo& info, std::string_view value)
{
    switch (info.kind) {
    case ParameterInfo::Kind::integer:
    case ParameterInfo::Kind::odd:
        return canonical_integer(info, value);
    case ParameterInfo::Kind::real: {
        double number = 0;
        const bool fits
            = parse_whole(value, number) && std::isfinite(number) && number >= info.minimum && number <= info.maximum;
        return fits ? shortest(number) : std::string();
    }
    case ParameterInfo::Kind::choice:
        return std::find(info.choices.begin(), info.choices.end(), value) == info.choices.end() ? std::string()
                                                                                                : std::string(value);
    case ParameterInfo::Kind::text:
    case ParameterInfo::Kind::policy:
    case ParameterInfo::Kind::file:
        break;
    }
    return std::string(value);
}

} // namespace

ParameterInfo integer_parameter(
    std::string name, std::int64_t default_value, std::int64_t minimum, std::int64_t maximum, std::string help)
{
    return {std::move(name), ParameterInfo::Kind::integer, std::to_string(default_value), static_cast<double>(minimum),
        static_cast<double>(maximum), {}, std::move(help)};
}

ParameterInfo odd_parameter(std::string name, std::int64_t default_value, std::string help)
{
    return {std::move(name), ParameterInfo::Kind::odd, std::to_string(default_value), 1, 1e6, {}, std::move(help)};
}

ParameterInfo real_parameter(
    std::string name, std::string default_value, double minimum, double maximum, std::string help)
{
    return {
        std::move(name), ParameterInfo::Kind::real, std::move(default_value), minimum, maximum, {}, std::move(help)};
}

ParameterInfo choice_parameter(
    std::string name, std::string default_value, std::vector<std::string> choices, std::string help)
{
    return {std::move(name), ParameterInfo::Kind::choice, std::move(default_value), 0, 0, std::move(choices),
        std::move(help)};
}

ParameterInfo text_parameter(std::string name, std::string default_value, std::string help)
{
    return {std::move(name), ParameterInfo::Kind::text, std::move(default_value), 0, 0, {}, std::move(help)};
}

ParameterInfo policy_parameter(std::string name, std::string default_value, std::string help)
{
    return {std::move(name), ParameterInfo::Kind::policy, std::move(default_value), 0, 0, {}, std::move(help)};
}

ParameterInfo file_parameter(std::string name, std::string help)
{
    return {std::move(name), ParameterInfo::Kind::file, "", 0, 0, {}, std::move(help)};
}

ParameterInfo window_parameter(std::int64_t minimum)
{
    return integer_parameter(
        "window", 32, minimum, largest_integer, "recent tokens: scores come from their queries, and they stay");
}

ParameterInfo kernel_parameter(std::int64_t default_value)
{
    return odd_parameter("kernel", default_value, "positions pooled together");
}

ParameterInfo pool_parameter()
{
    return choice_parameter("pool", "max", {"max", "avg", "none"}, "pooling of scores along positions");
}

ParameterInfo gqa_parameter(std::string default_value)
{
    return choice_parameter(
        "gqa", std::move(default_value), {"mean", "max", "sum"}, "reduction of a group's query heads to its KV head");
}

ParameterInfo alpha_parameter(std::string default_value)
{
    return real_parameter("alpha", std::move(default_value), 0, 1, "share of the budget that is every head's floor");
}

ParameterInfo beta_parameter()
{
    return integer_parameter("beta", 20, 1, largest_integer, "steepness: the last layer keeps 1/beta of the mean");
}

ParameterInfo normalize_parameter()
{
    return choice_parameter("normalize", "off", {"on", "off"}, "weigh a head by the mass of its top entries");
}

ParameterInfo protect_parameter()
{
    return text_parameter("protect", "none", "entries that rank first: first:N, last:N, span:NAME joined by '+'");
}

ParameterInfo gqa_at_parameter()
{
    return choice_parameter(
        "gqa_at", "pre_pool", {"pre_pool", "post_pool"}, "reduce the group before or after pooling");
}

ParameterInfo gamma_parameter()
{
    return real_parameter("gamma", "200", 0, 1e9, "weight of the variance in an entry's score");
}

ParameterInfo tau_parameter(std::string name)
{
    const auto of = name == "tau1" ? "entropy" : "variance";
    return real_parameter(
        std::move(name), "1", 1e-3, 1e3, "temperature of the " + std::string(of) + " in a layer's preference");
}

ParameterInfo cascading_parameter()
{
    return choice_parameter("cascading", "on", {"on", "off"}, "cut earlier layers again whenever a layer arrives");
}

ParameterInfo schedule_parameter()
{
    return choice_parameter("schedule", "integer", {"integer", "kvcache-factory", "paper"},
        "pyramid: AdaKV's integers, the same but uniform for short prompts, or real numbers");
}

ParameterInfo first_prompt_parameter()
{
    return integer_parameter("pyramid_ref_N", 0, 0, largest_integer,
        "tokens of the prompt that an integer pyramid was computed for (released codes: the first one); 0: this one");
}

ParameterInfo layout_parameter()
{
    return choice_parameter(
        "layout", "kv_head", {"kv_head", "query_head"}, "what has a cache, and a budget, of its own");
}

ParameterInfo precision_parameter()
{
    return choice_parameter("precision", "fp32", {"fp32", "emulate_bf16", "emulate_fp16"},
        "of scores: fp32, or rounded to a model's type wherever the released codes do");
}

ParameterInfo shared_parameter()
{
    return choice_parameter("shared", "max", {"union", "mean", "max"},
        "heads=shared: entries by their best place in any head, or by the mean or largest of the heads' scores");
}

ParameterInfo query_rows_parameter()
{
    return integer_parameter("rows", 0, 0, 1 << 20, "last queries that are asked; 0: the window's");
}

ParameterInfo diagonal_parameter()
{
    return choice_parameter("diagonal", "on", {"on", "off"}, "count each token's attention to itself");
}

ParameterInfo sinks_parameter()
{
    return integer_parameter("sinks", 0, 0, 1 << 30, "first tokens that rank above all others");
}

ParameterInfo recent_parameter()
{
    return choice_parameter("recent", "window", {"window", "half", "even"},
        "most recent tokens that stay: the window, half of the budget, or the window of 2 int(B / 2)");
}

ParameterInfo floor_parameter(std::string name, const std::string& share)
{
    return choice_parameter(std::move(name), "layer", {"layer", "nominal"},
        "what " + share + " is a share of: the layer's own number, or the nominal budget (released code)");
}

void PolicyParams::set(const ParameterInfo& info, std::string_view policy, std::string_view value)
{
    auto text = canonical(info, value);
    if (text.empty()) {
        throw UsageError("policy " + std::string(policy) + ": " + info.name + ": expected " + expectation(info)
            + ", found '" + std::string(value) + "'");
    }
    values_.insert_or_assign(info.name, std::move(text));
}

const std::string& PolicyParams::text(std::string_view name) const
{
    const auto found = values_.find(name);
    if (found == values_.end()) {
        throw std::logic_error("policy parameter " + std::string(name) + " was not declared");
    }
    return found->second;
}

std::int64_t PolicyParams::integer(std::string_view name) const
{
    std::int64_t number = 0;
    parse_whole(text(name), number);
    return number;
}

double PolicyParams::real(std::string_view name) const
{
    double number = 0;
    parse_whole(text(name), number);
    return number;
}

} // namespace lava
