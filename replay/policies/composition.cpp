#include "replay/policies/composition.h"

#include "analysis/selection.h"
#include "replay/policies/compose.h"

#include <algorithm>
#include <map>

namespace lava {

namespace {

using Word = std::pair<std::string, std::string>; // the policy's, compose's

bool is_piece(const PolicyInfo& info, const std::string& parameter)
{
    static const auto pieces = Composed::parameters();
    const auto name = piece_of(info, parameter).piece;
    return name == "protect" || std::ranges::count(pieces, name, &ParameterInfo::name) > 0;
}

std::string value_of_piece(const PieceName& name, const std::string& value)
{
    const auto word = std::ranges::find(name.words, value, &Word::first);
    return word == name.words.end() ? value : word->second;
}

// The row's pieces, changed by the parameters that set one.
std::string spelled(const PolicySpec& spec)
{
    const auto row = parse_policy_spelling(spec.info->composition).parameters;
    std::map<std::string, std::string> pieces(row.begin(), row.end());
    for (const auto& parameter : spec.info->parameters) {
        if (is_piece(*spec.info, parameter.name)) {
            const auto name = piece_of(*spec.info, parameter.name);
            pieces[name.piece] = value_of_piece(name, spec.params.text(parameter.name));
        }
    }
    std::string text = "compose";
    for (const auto& [piece, value] : pieces) {
        text += (text == "compose" ? ":" : ",") + piece + "=" + value;
    }
    return text;
}

} // namespace

PieceName piece_of(const PolicyInfo& info, const std::string& parameter)
{
    const auto named = std::ranges::find(info.pieces, parameter, &PieceName::parameter);
    return named == info.pieces.end() ? PieceName{parameter, parameter} : *named;
}

std::string default_in_composition(const PolicyInfo& info, const ParameterInfo& parameter)
{
    const auto name = piece_of(info, parameter.name);
    const auto row = parse_policy_spelling(info.composition).parameters;
    const auto said = std::ranges::find(row, name.piece, &Word::first);
    const auto pieces = Composed::parameters();
    const auto piece = std::ranges::find(pieces, name.piece, &ParameterInfo::name);
    if (piece == pieces.end()) {
        return parameter.default_value;
    }
    const auto& value = said == row.end() ? piece->default_value : said->second;
    const auto word = std::ranges::find(name.words, value, &Word::second);
    return word == name.words.end() ? value : word->first;
}

std::string composition_of(const PolicySpec& spec)
{
    const auto& info = *spec.info;
    const auto goes_beyond = [&](const ParameterInfo& parameter) {
        return !is_piece(info, parameter.name) && spec.params.text(parameter.name) != parameter.default_value;
    };
    if (info.composition.empty() || spec.has_own_rule || std::ranges::any_of(info.parameters, goes_beyond)) {
        return {};
    }
    return parse_policy(spelled(spec)).canonical;
}

PolicyParams pieces_of(const PolicySpec& spec)
{
    auto params = parse_policy(spelled(spec)).params;
    for (const auto& parameter : spec.info->parameters) {
        if (!is_piece(*spec.info, parameter.name)) {
            params.set(parameter, spec.info->name, spec.params.text(parameter.name));
        }
    }
    return params;
}

} // namespace lava
