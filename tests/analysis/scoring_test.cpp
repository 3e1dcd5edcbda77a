#include "analysis/scoring.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lava {
namespace {

TraceInfo trace_of(const std::string& tokenization)
{
    TraceInfo trace;
    trace.file = "qasper-0001.h5";
    trace.tokenization = tokenization;
    return trace;
}

TEST(RecordedScoring, IsWhatThePromptsLineSaid)
{
    const auto scoring = recorded_scoring(
        trace_of(R"({"chat":false,"scoring":{"answers":["7"],"max_new_tokens":8,"task":"qasper"}})"));
    EXPECT_EQ(scoring.dump(), R"({"answers":["7"],"max_new_tokens":8,"task":"qasper"})");
}

TEST(RecordedScoring, IsNullWhereTheTraceHasNone)
{
    EXPECT_TRUE(recorded_scoring(trace_of("")).is_null());
    EXPECT_TRUE(recorded_scoring(trace_of(R"({"chat":true})")).is_null());
    EXPECT_TRUE(recorded_scoring(trace_of("no JSON")).is_null());
}

TEST(RecordedScoring, RefusesWhatIsNoObject)
{
    EXPECT_THAT([] { recorded_scoring(trace_of(R"({"scoring":7})")); },
        ::testing::ThrowsMessage<Error>("qasper-0001.h5: /run: tokenization: scoring: expected an object, found 7"));
}

} // namespace
} // namespace lava
