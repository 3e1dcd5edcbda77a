#include "analysis/report_set.h"

#include "analysis/selection.h"
#include "base/error.h"
#include "tests/analysis/example_report.h"

#include <gmock/gmock.h>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<ReplayReport> two_reports()
{
    std::vector<ReplayReport> reports = {example_report(), example_report()};
    reports[0].file = "a.h5";
    reports[1].file = "b.h5";
    return reports;
}

TEST(ReportSet, HoldsAPolicyAtABudgetOncePerPrompt)
{
    std::vector<ReplayReport> reports = two_reports();
    const auto twice = [&](Use use, Filter filter = {}) {
        return [&reports, use, filter] { check_nothing_twice(select_cells(reports, filter), use); };
    };
    EXPECT_THAT(twice(Use::averaged),
        ThrowsMessage<Error>(HasSubstr("a.h5 and b.h5 both have streaming-llm at 6 for the same prompt")));
    EXPECT_THAT(twice(Use::side_by_side), ThrowsMessage<Error>(HasSubstr("a.h5 and b.h5")));
    reports[1].trace.eval_ids = {7, 301}; // another run of the same prompt
    EXPECT_THAT(twice(Use::averaged), ThrowsMessage<Error>(HasSubstr("a.h5 and b.h5")));
    EXPECT_NO_THROW(twice(Use::side_by_side)());
    reports[1].trace.prompt_ids.back() = 0;
    EXPECT_NO_THROW(twice(Use::averaged)());
    reports[1] = reports[0];
    reports[0].policies.erase(reports[0].policies.begin() + 1, reports[0].policies.end());
    reports[1].policies.erase(reports[1].policies.begin());
    EXPECT_NO_THROW(twice(Use::averaged)()) << "other policies of the same prompt";
}

TEST(ReportSet, KnowsPromptsByTextsAndFileNamesWhereIdsAreUnknown)
{
    TraceInfo a = example::trace_info();
    TraceInfo b = a;
    a.file = "folder/first.h5";
    b.file = "second.h5";
    EXPECT_EQ(prompt_id(a), "first");
    EXPECT_EQ(prompt_key(a), prompt_key(b));
    a.prompt_ids.clear();
    b.prompt_ids.clear();
    EXPECT_EQ(prompt_key(a), prompt_key(b));
    b.prompt_texts[2] = " ocean";
    EXPECT_NE(prompt_key(a), prompt_key(b));
    a.prompt_texts.clear();
    b.prompt_texts.clear();
    EXPECT_NE(prompt_key(a), prompt_key(b));
}

TEST(ReportSet, IsOfOneModel)
{
    std::vector<ReplayReport> reports = two_reports();
    EXPECT_NO_THROW(check_same_model(reports, Use::averaged));
    reports[1].trace.model_name = "renamed";
    EXPECT_NO_THROW(check_same_model(reports, Use::averaged)) << "the weights are the same";
    reports[1].trace.weights_sha256.clear();
    EXPECT_THAT([&] { check_same_model(reports, Use::side_by_side); },
        ThrowsMessage<Error>("b.h5: expected a report of example-llama (3 layers x 2 KV heads of 8, sha256 "
                             "aaaaaaaaaaaa), as a.h5 is, found one of renamed (3 layers x 2 KV heads of 8, weights "
                             "unknown)"));
    reports[1].trace = reports[0].trace;
    reports[1].trace.shape.head_dim = 16;
    EXPECT_THROW(check_same_model(reports, Use::side_by_side), Error);
    reports[1].trace = reports[0].trace;
    reports[1].trace.layer_numbers = {3, 4, 5};
    EXPECT_NO_THROW(check_same_model(reports, Use::side_by_side));
    EXPECT_THAT([&] { check_same_model(reports, Use::averaged); },
        ThrowsMessage<Error>(HasSubstr("b.h5: expected a report of all layers, as a.h5 is, found one of layers 3-5")));
}

} // namespace
} // namespace lava
