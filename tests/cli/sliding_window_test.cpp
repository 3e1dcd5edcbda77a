// Prompts that exceed a model's sliding window, from the model to the tables.

#include "tests/cli/program.h"
#include "tests/windowed_story_model.h"

#include <gmock/gmock.h>

namespace lava::test {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class SlidingWindow : public CommandLine
{
protected:
    Outcome succeeds(const std::string& command) const
    {
        const auto outcome = run(command);
        EXPECT_EQ(outcome.status, 0) << command << ": " << outcome.err;
        return outcome;
    }

    /// The table of a replay of x.h5 by several policies, a lossless one and one that changes values among them.
    std::string table(const std::string& options = {}) const
    {
        succeeds("lava-replay x.h5 -p full -p snapkv -p lava -p tova -p loo -p merging:base=h2o -b 48,100 -o r.h5"
            + options);
        return succeeds("lava-analyze layers r.h5 --format csv").out;
    }
};

TEST_F(SlidingWindow, OfAModelIsCapturedVerifiedAndReplayed)
{
    testing::make_windowed_story_model(path("model"), 50);
    const auto story = std::string(" --prompt-file " LAVA_SOURCE_DIR "/data/story.txt");
    succeeds("lava-capture --model model" + story + " --continue 8 -o x.h5");
    EXPECT_THAT(succeeds("lava-trace info x.h5").out, HasSubstr("windows      50 tokens in layers 0,2,4"));
    succeeds("lava-trace verify x.h5");
    // what the last queries saw is all that the steps see, where there is a window: the rest is evicted first
    const auto losses = table();
    EXPECT_THAT(losses, ContainsRegex("snapkv,both,100,[0-9.]+,100,0,400,0\\.2,0,0,0,"));
    EXPECT_THAT(losses, Not(ContainsRegex("snapkv,both,100,[0-9.]+,100,1,400,0\\.2,0,")));
    succeeds("lava-replay x.h5 -p snapkv -p full -b 48,200 --closed-loop --free --model model -o closed.h5");
    const auto answers = succeeds("lava-analyze answers closed.h5 --policy full --format csv").out;
    EXPECT_THAT(answers, HasSubstr("yes")) << answers;
    // the same weights without a window are another model
    expect_refusal("lava-replay x.h5 -p snapkv -b 48 --closed-loop --model " + model() + " -o other.h5", 1,
        {"x.h5", "/model/layer_windows", "found 50"});
}

TEST_F(SlidingWindow, ThatHoldsEverythingChangesNoNumber)
{
    const std::string trace = small_trace;
    succeeds(trace + "x.h5");
    const auto without = table();
    succeeds(trace + "x.h5 --sliding-window 131"); // 128 tokens and 3 steps
    EXPECT_EQ(table(), without);
    succeeds(trace + "x.h5 --sliding-window 130");
    EXPECT_NE(table(), without);
}

} // namespace lava::test
