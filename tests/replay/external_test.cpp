#include "replay/policies/registry.h"

#include "base/error.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace lava {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class ExternalSet : public ::testing::Test
{
protected:
    std::string write(const std::string& text) const
    {
        std::ofstream(file_) << text;
        return "external:file=" + file_.string();
    }

    TemporaryFolder folder_;
    std::filesystem::path file_ = folder_ / "kept,a=b:c.json"; // commas and colons belong to the file's name
};

TEST_F(ExternalSet, KeepsWhatItIsGiven)
{
    const auto policy
        = parse_policy(write(R"({"seq_len": 200, "kept": [[[3, 9], []], [[0], [199]], [[], []]]})")).make();
    EXPECT_TRUE(policy->ignores_budget());
    const auto layer = synthesize_layer(testing::small_options(), 0);
    const auto scores = policy->score(LayerInputs(layer, 0));
    EXPECT_EQ(scores.entries.sum().item<float>(), 2);
    EXPECT_EQ(scores.entries[0][9].item<float>(), 1);
    EXPECT_THAT(policy->allocate({}, {}).retained, ::testing::ElementsAre(2, 0, 1, 1, 0, 0));
}

TEST_F(ExternalSet, RefusesWhatDoesNotFit)
{
    const auto refused = [&](const std::string& text, const std::string& sentence) {
        const auto spec = parse_policy(write(text));
        EXPECT_THAT([&] { (void)spec.make()->score(LayerInputs(synthesize_layer(testing::small_options(), 0), 0)); },
            ThrowsMessage<Error>(HasSubstr(sentence)))
            << text;
    };
    refused("", "expected a JSON object");
    refused("[1, 2]", "expected a JSON object");
    refused(R"({"seq_len": 200})", "expected a JSON object with \"seq_len\" and \"kept\"");
    refused(R"({"seq_len": "long", "kept": []})", "expected a whole number \"seq_len\"");
    refused(R"({"seq_len": 200, "kept": [[["a"], []]]})",
        "kept[0][0]: expected ascending positions below 200, found \"a\"");
    refused(R"({"seq_len": 200, "kept": [[[1.5], []]]})", "below 200, found 1.5");
    refused(R"({"seq_len": 200, "kept": [[[-1], []]]})", "below 200, found -1");
    refused(R"({"seq_len": 200, "kept": [[[99999999999999999999], []]]})", "below 200, found");
    refused(
        R"({"seq_len": 200, "kept": [[3, []]]})", "kept[0][0]: expected ascending positions below 200, found number");
    refused(R"({"seq_len": 200, "kept": [7]})", "kept[0]: expected a list [kv_head][positions], found number");
    refused(R"({"seq_len": 1e300, "kept": []})", "expected a whole number \"seq_len\"");
    refused(R"({"seq_len": 200, "kept": [[[9, 3], []]]})", "expected ascending positions below 200, found 3 after 9");
    refused(R"({"seq_len": 200, "kept": [[[200], []]]})", "found 200");
    refused(R"({"seq_len": 199, "kept": [[[1], []]]})", "seq_len: expected 200 (the trace's), found 199");
    refused(R"({"seq_len": 200, "kept": [[[1], []]]})", "layers in kept: expected 3 (the trace's), found 1");
    refused(R"({"seq_len": 200, "kept": [[[1]], [[1]], [[1]]]})", "KV heads in kept[0]: expected 2");
}

TEST_F(ExternalSet, NamesAFileThatIsMissing)
{
    const auto spec = parse_policy("external:file=" + file_.string());
    EXPECT_THAT([&] { (void)spec.make(); }, ThrowsMessage<Error>(HasSubstr("cannot be read")));
}

} // namespace
} // namespace lava
