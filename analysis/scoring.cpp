#include "analysis/scoring.h"

#include "base/error.h"

#include <nlohmann/json.hpp>

namespace lava {

nlohmann::json recorded_scoring(const TraceInfo& trace)
{
    const auto said = nlohmann::json::parse(trace.tokenization, nullptr, false); // other programs' may be any text
    if (!said.is_object() || !said.contains("scoring"))
        return nullptr;
    const auto& scoring = said.at("scoring");
    if (!scoring.is_object())
        throw Error(
            trace.file + ": /run: tokenization: scoring: expected an object, found " + scoring.dump().substr(0, 40));
    return scoring;
}

} // namespace lava
