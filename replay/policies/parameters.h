#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava {

/// One parameter of a policy: what it is called, what it may be, what it is unless told otherwise.
struct ParameterInfo
{
    enum class Kind
    {
        integer,
        odd,
        real,
        choice,
        text, ///< any text; the policy that takes it checks it
        policy, ///< another policy, in brackets where it has parameters of its own: base=[snapkv:window=16]
        file
    };

    std::string name;
    Kind kind = Kind::integer;
    std::string default_value; ///< empty: must be given
    double minimum = 0;
    double maximum = 0;
    std::vector<std::string> choices;
    std::string help;
};

ParameterInfo integer_parameter(
    std::string name, std::int64_t default_value, std::int64_t minimum, std::int64_t maximum, std::string help);
ParameterInfo odd_parameter(std::string name, std::int64_t default_value, std::string help);
ParameterInfo real_parameter(
    std::string name, std::string default_value, double minimum, double maximum, std::string help);
ParameterInfo choice_parameter(
    std::string name, std::string default_value, std::vector<std::string> choices, std::string help);
ParameterInfo text_parameter(std::string name, std::string default_value, std::string help);
ParameterInfo policy_parameter(std::string name, std::string default_value, std::string help);
ParameterInfo file_parameter(std::string name, std::string help);

// Parameters that several policies share.
ParameterInfo window_parameter(std::int64_t minimum = 1);
ParameterInfo kernel_parameter(std::int64_t default_value = 7);
ParameterInfo pool_parameter();
ParameterInfo gqa_parameter(std::string default_value = "mean");
ParameterInfo alpha_parameter(std::string default_value = "0");
ParameterInfo beta_parameter();
ParameterInfo normalize_parameter();
ParameterInfo protect_parameter();
ParameterInfo gqa_at_parameter();
ParameterInfo gamma_parameter();
ParameterInfo tau_parameter(std::string name);
ParameterInfo cascading_parameter();
ParameterInfo schedule_parameter();
ParameterInfo first_prompt_parameter();
ParameterInfo layout_parameter();
ParameterInfo precision_parameter();
ParameterInfo shared_parameter();
ParameterInfo query_rows_parameter();
ParameterInfo diagonal_parameter();
ParameterInfo sinks_parameter();
ParameterInfo recent_parameter();
ParameterInfo floor_parameter(std::string name, const std::string& share); ///< what `share` is a share of

/// Values of a policy's parameters, every one of them, checked.
class PolicyParams
{
public:
    PolicyParams() = default;

    /// Parses and checks `value`; stores it in canonical form ("0.20" as "0.2"). Throws UsageError naming `policy`,
    /// parameter, expected and found.
    void set(const ParameterInfo& info, std::string_view policy, std::string_view value);

    std::int64_t integer(std::string_view name) const;
    double real(std::string_view name) const;
    const std::string& text(std::string_view name) const;
    bool is_on(std::string_view name) const { return text(name) == "on"; }
    bool has(std::string_view name) const { return values_.find(name) != values_.end(); }

private:
    std::map<std::string, std::string, std::less<>> values_;
};

} // namespace lava
