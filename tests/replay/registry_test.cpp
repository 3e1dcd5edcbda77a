#include "replay/policies/registry.h"

#include "base/error.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace lava {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ParsePolicy, SpellingIsCanonical)
{
    EXPECT_EQ(parse_policy("snapkv").canonical, "snapkv");
    EXPECT_EQ(parse_policy("snapkv:window=32,kernel=7").canonical, "snapkv"); // defaults go without saying
    EXPECT_EQ(parse_policy(" snapkv : kernel = 5 , window=016").canonical, "snapkv:window=16,kernel=5");
    EXPECT_EQ(parse_policy("ada-snapkv:alpha=0.20").canonical, "ada-snapkv");
    EXPECT_EQ(parse_policy("lava@official:alpha=5e-1").canonical, "lava@official:alpha=0.5");
    EXPECT_EQ(parse_policy("lava@official:alpha=0.2").canonical, "lava@official");
}

TEST(ParsePolicy, VariantsAreDefaultsThatParametersMayOverride)
{
    const auto official = parse_policy("lava@official:floor=layer");
    EXPECT_EQ(official.params.text("value_norm"), "prefix");
    EXPECT_EQ(official.params.text("floor"), "layer");
    EXPECT_DOUBLE_EQ(official.params.real("alpha"), 0.2);
}

TEST(ParsePolicy, UnknownNamesListTheKnown)
{
    EXPECT_THAT([] { parse_policy("snapvk"); },
        ThrowsMessage<UsageError>(AllOf(HasSubstr("unknown policy 'snapvk'"), HasSubstr("snapkv, pyramidkv"))));
    EXPECT_THAT([] { parse_policy("snapkv@official"); },
        ThrowsMessage<UsageError>(
            "policy snapkv: unknown variant 'official'; known: adakv, adakv-class, kvcache-factory, kvpress"));
    EXPECT_THAT([] { parse_policy("snapkv:kernal=5"); },
        ThrowsMessage<UsageError>("policy snapkv: unknown parameter 'kernal'; known: window, kernel, pool, gqa, "
                                  "gqa_at, reduce, layout, precision, protect"));
}

TEST(ParsePolicy, ValuesThatDoNotFitAreNamed)
{
    EXPECT_THAT([] { parse_policy("snapkv:kernel=4"); },
        ThrowsMessage<UsageError>("policy snapkv: kernel: expected an odd number from 1 to 1e+06, found '4'"));
    EXPECT_THAT([] { parse_policy("snapkv:pool=mean"); },
        ThrowsMessage<UsageError>("policy snapkv: pool: expected one of max, avg, none, found 'mean'"));
    EXPECT_THAT([] { parse_policy("snapkv:kernel"); },
        ThrowsMessage<UsageError>("policy snapkv: kernel: expected KEY=VALUE, found no value"));
    EXPECT_THAT([] { parse_policy("random:seed=1,seed=2"); },
        ThrowsMessage<UsageError>("policy random: seed: expected one value, found two"));
    for (const auto* text : {"snapkv:window=0", "snapkv:window=3.5", "snapkv:window=", "snapkv:window",
             "snapkv:", "ada-snapkv:alpha=1.5", "ada-snapkv:alpha=nan", "cake:tau1=0", "cake:window=1",
             "pyramidkv:beta=0", "", "@official", "external", "external:file="}) {
        EXPECT_THROW(parse_policy(text), UsageError) << text;
    }
}

TEST(Policies, EveryRowIsMadeFromItsDefaultsAndNamesItsSource)
{
    for (const auto& info : policies()) {
        EXPECT_FALSE(info.summary.empty()) << info.name;
        EXPECT_FALSE(info.citation.empty()) << info.name;
        if (info.in_default_set) {
            EXPECT_NE(parse_policy(info.name).make(), nullptr) << info.name;
        }
        const auto must_be_given = [](const ParameterInfo& parameter) { return parameter.default_value.empty(); };
        if (std::any_of(info.parameters.begin(), info.parameters.end(), must_be_given)) {
            continue; // a file
        }
        for (const auto& variant : info.variants) {
            EXPECT_NE(parse_policy(info.name + "@" + variant.name).make(), nullptr) << info.name;
        }
    }
}

} // namespace
} // namespace lava
