#include "tests/cli/program.h"

#include <gmock/gmock.h>

namespace lava::test {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

namespace {

std::string ids(int count)
{
    std::string text = "[1";
    for (int i = 1; i < count; ++i)
        text += "," + std::to_string(260 + i % 200);
    return text + "]";
}

/// A safetensors file is the header's length in 8 bytes, the header, the data.
std::string safetensors(const std::string& header, std::uint64_t length, std::size_t data)
{
    std::string file(8, '\0');
    for (int byte = 0; byte < 8; ++byte)
        file[static_cast<std::size_t>(byte)] = static_cast<char>(length >> (8 * byte));
    return file + header + std::string(data, '\0');
}

} // namespace

TEST_F(CommandLine, ATraceOfAPartOfAModelSaysWhichEverywhere)
{
    const auto captured = run("lava-capture --model " + model()
        + " --prompt 'Once upon a time, there was a little girl' --layers 1-2,4 --heads 0,2 --window 4 -o part.h5");
    ASSERT_EQ(captured.status, 0) << captured.err;
    EXPECT_THAT(captured.out, HasSubstr("part          layers 1-2,4, KV heads 0,2 of the model"));
    EXPECT_THAT(run("lava-trace info part.h5").out, HasSubstr("part         layers 1-2,4, KV heads 0,2 of the model"));
    const auto replayed = run("lava-replay part.h5 -p snapkv:window=4 -p lava:window=4 -b 6 -o report.h5");
    ASSERT_EQ(replayed.status, 0) << replayed.err;
    EXPECT_THAT(replayed.out, HasSubstr("3 layers x 2 KV heads (layers 1-2,4, KV heads 0,2 of the model)"));
    const auto heads = run("lava-analyze heads report.h5 --policy snapkv --budget 6 --format csv");
    EXPECT_THAT(heads.out, ContainsRegex("snapkv:window=4,[a-z]+,6,[0-9.]+,6,4,5,2")) << "query head 5 reads KV head 2";
    const auto gain
        = run("lava-analyze gain report.h5 --policy snapkv --policy lava --budget 6 --layer 4 --format csv");
    EXPECT_THAT(gain.out, ContainsRegex("nominal,6,[0-9]+,4,1,")) << gain.err;
    expect_refusal("lava-analyze gain report.h5 --policy snapkv --policy lava --layer 3", 1, {"--layer", "found 3"});
    expect_refusal("lava-replay part.h5 -p lava -b 6 --closed-loop --model " + model() + " -o closed.h5", 1,
        {"part.h5", "layers 1-2,4, KV heads 0,2 of the model only", "--model"});
    expect_refusal("lava-trace verify part.h5", 1, {"part.h5", "attn_out"});
}

class CaptureRefuses : public CommandLine
{
protected:
    ~CaptureRefuses() override { expect_no_output("trace.h5"); }
    std::string capture() const { return "lava-capture --model " + model() + " -o trace.h5 "; }
};

TEST_F(CaptureRefuses, AMissingModel)
{
    expect_refusal("lava-capture --model nowhere --prompt Once -o trace.h5", 1, {"nowhere"});
}

TEST_F(CaptureRefuses, NoPromptOrTwo)
{
    expect_refusal(capture(), 2, {"--prompt"});
    expect_refusal(capture() + "--prompt Once --prompt-file story.txt", 2, {"--prompt", "--prompt-file"});
    expect_refusal(capture() + "--prompt Once --continue 2 --reference answer.txt", 2, {"--continue", "--reference"});
}

TEST_F(CaptureRefuses, LayersAndHeadsThatAreNone)
{
    expect_refusal(capture() + "--prompt Once --layers 3-1", 2, {"--layers", "3-1"});
    expect_refusal(capture() + "--prompt Once --heads all", 2, {"--heads", "all"});
    expect_refusal(capture() + "--prompt Once --layers 0,5", 1, {"--layers", "0 to 4", "5"});
}

TEST_F(CaptureRefuses, AMissingOrEmptyPromptFile)
{
    expect_refusal(capture() + "--prompt-file story.txt", 1, {"story.txt"});
    write("story.txt", "");
    expect_refusal(capture() + "--prompt-file story.txt", 1, {"empty"});
}

TEST_F(CaptureRefuses, APromptBeyondTheContext)
{
    write("ids.json", ids(513));
    expect_refusal(capture() + "--ids ids.json", 1, {"513", "512"});
    write("ids.json", ids(510));
    expect_refusal(capture() + "--ids ids.json --continue 5", 1, {"512"});
}

TEST_F(CaptureRefuses, IdsThatAreNoTokens)
{
    write("ids.json", "[1, 2, 512]");
    expect_refusal(capture() + "--ids ids.json", 1, {"token 2", "512"});
    write("ids.json", R"({"ids": [1]})");
    expect_refusal(capture() + "--ids ids.json", 1, {"ids.json"});
    write("ids.json", "[1, 2");
    expect_refusal(capture() + "--ids ids.json", 1, {"ids.json"});
}

TEST_F(CaptureRefuses, AChatTemplateThatTheModelLacks)
{
    expect_refusal(capture() + "--prompt Once --chat", 1, {"chat"});
}

TEST_F(CaptureRefuses, AnUnknownDeviceOrDtype)
{
    expect_refusal(capture() + "--prompt Once --device abacus", 2, {"abacus"});
    expect_refusal(capture() + "--prompt Once --dtype f12", 2, {"f12"});
}

TEST_F(CaptureRefuses, ASafetensorsHeaderThatLies)
{
    ASSERT_EQ(run("cp -r " + model() + " liar && chmod -R u+w liar").status, 0);
    const std::string lies[] = {
        safetensors("{}", ~0ULL, 0), // a header longer than any file
        safetensors("{}", 1000, 0), // longer than this one
        safetensors(R"({"a":)", 5, 0), // not JSON
        safetensors(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 55, 8), // data beyond the end
        safetensors(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}})", 55, 16), // too short for its shape
        safetensors(R"({"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", 56, 16), // no shape
        std::string("\x05\0\0", 3), // no room for a length
    };
    for (const auto& lie : lies) {
        write("liar/model.safetensors", lie);
        expect_refusal("lava-capture --model liar --prompt Once -o trace.h5", 1, {"model.safetensors"});
    }
}

TEST_F(CaptureRefuses, AConfigThatLies)
{
    ASSERT_EQ(run("cp -r " + model() + " liar && chmod -R u+w liar").status, 0);
    ASSERT_EQ(run("sed -i 's/\"num_attention_heads\": [0-9]*/\"num_attention_heads\": 7/' liar/config.json").status, 0);
    expect_refusal("lava-capture --model liar --prompt Once -o trace.h5", 1, {"config.json"});
}

using Capture = CommandLine;

TEST_F(Capture, APromptNoLongerThanTheWindowIsRecordedAndItsEvictionRefused)
{
    write("ids.json", ids(20));
    const auto captured
        = run("lava-capture --model " + model() + " --ids ids.json --window 32 --continue 2 -o trace.h5");
    EXPECT_EQ(captured.status, 0) << captured.err;
    expect_refusal("lava-replay trace.h5 -p snapkv -b 10 -o report.h5", 1, {"20"});
    expect_refusal("lava-replay trace.h5 -o report.h5", 1, {"20"});
    expect_no_output("report.h5");
}

TEST_F(Capture, AnInterruptLeavesNothingThatLooksWhole)
{
    write("ids.json", ids(400));
    const auto interrupted = run(
        "timeout --signal=INT 0.3 lava-capture --model " + model() + " --ids ids.json --continue 100 -o trace.h5");
    EXPECT_NE(interrupted.status, 0);
    expect_no_output("trace.h5");
}

TEST_F(Capture, TheSameRunWritesTheSameBytes)
{
    const std::string capture
        = "lava-capture --model " + model() + " --prompt 'Once upon a time' --window 2 --continue 4 ";
    const auto compared = run(capture + "-o one.h5 && " + capture + "-o two.h5 && cmp one.h5 two.h5");
    EXPECT_EQ(compared.status, 0) << compared.out << compared.err;
}

TEST_F(Capture, AStoredTraceVerifies)
{
    const std::string capture
        = "lava-capture --model " + model() + " --prompt 'Once upon a time' --window 2 --continue 4 ";
    for (const char* store : {"f32", "f16", "bf16"}) {
        const auto verified = run(capture + "--store " + store + " -o trace.h5 && lava-trace verify trace.h5");
        EXPECT_EQ(verified.status, 0) << store << '\n' << verified.out << verified.err;
    }
}

} // namespace lava::test
