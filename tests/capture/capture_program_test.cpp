#include "traces/trace.h"

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>

namespace lava {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string read_file(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

struct Result
{
    int status = 0;
    std::string out, err;
};

/// Runs the program in a folder of its own.
class CaptureProgram : public testing::Test
{
protected:
    void SetUp() override
    {
        folder_ = std::filesystem::path(testing::TempDir())
            / ("lava_capture_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    Result run(const std::string& arguments, const std::string& before = "") const
    {
        const std::string command = "cd '" + folder_.string() + "' && " + before + " '" + LAVA_CAPTURE + "' "
            + arguments + " > out.txt 2> err.txt";
        const int status = std::system(command.c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder_ / "out.txt"),
            read_file(folder_ / "err.txt")};
    }

    /// A run over stories260K.
    Result stories(const std::string& arguments, const std::string& before = "") const
    {
        return run("--model '" LAVA_SOURCE_DIR "/models/stories260K' " + arguments, before);
    }

    void expect_failure(const Result& result, int status, const std::string& message) const
    {
        EXPECT_EQ(result.status, status);
        EXPECT_THAT(result.err, AllOf(HasSubstr("lava-capture: "), HasSubstr(message)));
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_EQ(result.out, "");
        EXPECT_FALSE(std::filesystem::exists(folder_ / "t.h5"));
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            EXPECT_NE(entry.path().extension(), ".part") << entry.path();
        }
    }

    void write(const std::string& name, const std::string& text) const
    {
        std::ofstream(folder_ / name, std::ios::binary) << text;
    }

    std::filesystem::path folder_;
};

TEST_F(CaptureProgram, WritesATraceAndSaysWhatIsInIt)
{
    write("spans.json", R"([{"name": "girl", "begin": 37, "end": 41}])");
    write("prompt.txt", "Once upon a time, there was a little girl named");
    const Result result = stories("--prompt-file prompt.txt --spans spans.json --window 4 --continue 3 -o t.h5");
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.err, ""); // what is forecast is for a terminal
    EXPECT_THAT(result.out,
        AllOf(HasSubstr("stories260K: 5 layers, 8 query heads, 4 KV heads"), HasSubstr("\" girl\""),
            HasSubstr("3 steps, greedy: \" Lily. She\"")));
    const TraceInfo info = Trace(folder_ / "t.h5").info();
    EXPECT_EQ(info.window, 4);
    EXPECT_EQ(info.eval_ids.size(), 3u);
    EXPECT_TRUE(info.has_losses && info.has_outputs && info.has_observed_attention && info.has_logits);
    EXPECT_EQ(info.weights_sha256.size(), 64u);
    EXPECT_EQ(info.generator.find("lava-capture "), 0u);
    EXPECT_EQ(info.continuation, "greedy");
    ASSERT_EQ(info.spans.size(), 1u);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "stories260K.weights.h5"));
}

TEST_F(CaptureProgram, NamesAModelOfTheHubsCacheAfterItsRepository)
{
    namespace fs = std::filesystem;
    const fs::path stories = LAVA_SOURCE_DIR "/models/stories260K";
    const auto name_of = [&](const std::string& folder) {
        const Result result = run("--model '" + folder + "' --prompt Once --continue 0 --json --embed-weights -o t.h5");
        EXPECT_EQ(result.status, 0) << result.err;
        return nlohmann::json::parse(result.out)["model"].get<std::string>();
    };
    // as the hub's client lays it out: a snapshot's files are links to blobs
    const fs::path repository = folder_ / "hub" / "models--org--tiny--stories",
                   snapshot = repository / "snapshots/0a1b2c";
    fs::create_directories(repository / "blobs");
    fs::create_directories(snapshot);
    for (const auto& file : fs::directory_iterator(stories)) {
        const auto blob = "blob-" + file.path().filename().string();
        fs::copy(file.path(), repository / "blobs" / blob);
        fs::create_symlink(fs::path("../../blobs") / blob, snapshot / file.path().filename());
    }
    EXPECT_EQ(name_of("hub/models--org--tiny--stories/snapshots/0a1b2c"), "org/tiny--stories");
    fs::create_directory_symlink(snapshot, folder_ / "shortcut");
    EXPECT_EQ(name_of("shortcut"), "org/tiny--stories");
    // what only looks alike has its own name
    fs::create_directories(folder_ / "snapshots");
    fs::create_directory_symlink(stories, folder_ / "snapshots/other");
    EXPECT_EQ(name_of("snapshots/other"), "stories260K");
    fs::create_directories(folder_ / "models--org--tiny");
    fs::copy(stories, folder_ / "models--org--tiny" / "mine", fs::copy_options::recursive);
    EXPECT_EQ(name_of("models--org--tiny/mine"), "mine");
    ASSERT_EQ(run("--model shortcut --prompt Once --continue 0 -o u.h5").status, 0);
    EXPECT_TRUE(fs::exists(folder_ / "tiny--stories.weights.h5"));
}

TEST_F(CaptureProgram, SpeaksJson)
{
    const Result result = stories("--prompt 'Once upon a time' --embed-weights --json --continue 2 -o t.h5");
    ASSERT_EQ(result.status, 0) << result.err;
    const auto json = nlohmann::json::parse(result.out);
    EXPECT_EQ(json["seq_len"], 5);
    EXPECT_EQ(json["window"], 5);
    EXPECT_EQ(json["continuation"], ", there");
    EXPECT_TRUE(json["weights"].is_null());
    EXPECT_FALSE(std::filesystem::exists(folder_ / "stories260K.weights.h5"));
}

TEST_F(CaptureProgram, GivesTheSameBytesWithAnyNumberOfThreads)
{
    const std::string story = "--prompt-file " LAVA_SOURCE_DIR "/data/story.txt --embed-weights ";
    std::ofstream(folder_ / "ids.json") << "[3, 4, 5, 6, 7, 8, 9]"; // seven rows, which MKL splits among threads
    for (const std::string& prompt : {story, std::string("--ids ids.json --embed-weights ")}) {
        ASSERT_EQ(stories(prompt + "--threads 1 -o one.h5").status, 0);
        const std::string one = read_file(folder_ / "one.h5");
        for (const char* threads : {"1", "2", "5"}) {
            ASSERT_EQ(stories(prompt + "--threads " + threads + " -o other.h5").status, 0);
            EXPECT_TRUE(read_file(folder_ / "other.h5") == one) << prompt << threads << " threads";
        }
    }
}

TEST_F(CaptureProgram, TakesIdsWhereTheTokenizerIsMissing)
{
    std::filesystem::create_directories(folder_ / "model");
    for (const char* name : {"config.json", "model.safetensors"}) {
        std::filesystem::copy_file(
            std::filesystem::path(LAVA_SOURCE_DIR) / "models/stories260K" / name, folder_ / "model" / name);
    }
    write("ids.json", "[1, 403, 407]");
    const Result result = run("--model model --ids ids.json --continue 2 -o t.h5");
    EXPECT_EQ(result.status, 0);
    EXPECT_THAT(result.err, HasSubstr("note: the trace has no token texts"));
    EXPECT_EQ(Trace(folder_ / "t.h5").info().prompt_ids, (std::vector<std::int64_t>{1, 403, 407}));
    std::filesystem::remove(folder_ / "t.h5");
    expect_failure(run("--model model --prompt text -o t.h5"), 1, "no tokenizer");
}

TEST_F(CaptureProgram, PlantsANeedle)
{
    write("book.txt", "Lily saw a cat. Tom saw a dog. They ran to the park. The sun was big. The cat sat on a mat.");
    const Result result
        = stories("--haystack book.txt --needle 'The key is red.' --depth 0.5 --question 'What is red?' "
                  "--tokens 60 --json --continue 1 -o t.h5");
    ASSERT_EQ(result.status, 0) << result.err;
    const auto json = nlohmann::json::parse(result.out);
    EXPECT_LE(json["seq_len"], 60);
    EXPECT_EQ(json["spans"][1]["name"], "needle");
    EXPECT_THAT(json["spans"][1]["text"].get<std::string>(), HasSubstr("The key is red."));
}

TEST_F(CaptureProgram, ForecastsTheSizeOfWhatItWrites)
{
    const std::string story = "--prompt-file " LAVA_SOURCE_DIR "/data/story.txt ";
    const Result dry = stories(story + "--embed-weights --dry-run -o t.h5");
    EXPECT_EQ(dry.status, 0) << dry.err;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "t.h5"));
    double forecast = 0;
    ASSERT_EQ(std::sscanf(dry.out.c_str(), "trace %lf MB", &forecast), 1) << dry.out;
    ASSERT_EQ(stories(story + "--embed-weights -o t.h5").status, 0);
    EXPECT_NEAR(static_cast<double>(std::filesystem::file_size(folder_ / "t.h5")) / 1e6, forecast, 0.1);
}

TEST_F(CaptureProgram, RecordsTheRepeatPass)
{
    const Result result = stories("--prompt 'Once upon a time, there was' --repeat-pass --chunk 3 -o t.h5");
    ASSERT_EQ(result.status, 0) << result.err;
    const Trace trace(folder_ / "t.h5");
    EXPECT_TRUE(trace.info().has_repeat_maxima && trace.info().has_repeat_maxima_plus);
    const auto maxima = trace.layer(0).repeat_maxima;
    EXPECT_TRUE(maxima.gt(0).all().item<bool>() && maxima.le(1).all().item<bool>());
    std::filesystem::remove(folder_ / "t.h5");
    write("long.txt", std::string(600, 'a') + std::string(600, 'b'));
    expect_failure(stories("--prompt-file " LAVA_SOURCE_DIR "/data/story.txt --repeat-pass -o t.h5"), 1,
        "--repeat-pass: the prompt's 451 tokens and ");
}

TEST_F(CaptureProgram, CapturesAFileOfPromptsAndGoesOnWhereItStopped)
{
    write("p.jsonl",
        "{\"id\": \"a\", \"prompt\": \"Once upon a time\", \"spans\": [{\"name\": \"time\", \"begin\": 12, "
        "\"end\": 16}]}\n{\"ids\": [1, 403], \"reference\": [407, 261]}\n");
    const std::string command = "--prompts p.jsonl --continue 3 --window 2 -o traces";
    const Result first = stories(command);
    ASSERT_EQ(first.status, 0) << first.err;
    EXPECT_EQ(first.out, "2 traces in traces, 0 of them kept from before; traces/index.json lists them\n");
    EXPECT_EQ(Trace(folder_ / "traces/00002.h5").info().eval_ids, (std::vector<std::int64_t>{407, 261}));
    EXPECT_EQ(Trace(folder_ / "traces/a.h5").info().spans.front().name, "time");
    const std::string index = read_file(folder_ / "traces/index.json");
    const auto json = nlohmann::json::parse(index);
    EXPECT_EQ(json["traces"][1]["trace"], "00002.h5");
    EXPECT_EQ(json["traces"][0]["eval_len"], 3);
    const auto written = std::filesystem::last_write_time(folder_ / "traces/a.h5");
    std::filesystem::remove(folder_ / "traces/00002.h5");
    const Result again = stories(command);
    EXPECT_EQ(again.out, "2 traces in traces, 1 of them kept from before; traces/index.json lists them\n");
    EXPECT_EQ(std::filesystem::last_write_time(folder_ / "traces/a.h5"), written);
    EXPECT_EQ(read_file(folder_ / "traces/index.json"), index);
    EXPECT_THAT(stories("--prompts p.jsonl --continue 4 --window 2 -o traces").out, HasSubstr("1 of them kept"))
        << "other options, another trace";
}

TEST_F(CaptureProgram, KeepsOnlyTracesThatAreWhatItWouldRecord)
{
    write("p.jsonl", "{\"id\": \"a\", \"prompt\": \"Once upon a time\"}\n");
    const std::string command = "--prompts p.jsonl --continue 2 -o traces ";
    const auto trace = folder_ / "traces/a.h5";
    ASSERT_EQ(stories(command + "--layers 0-1").status, 0);
    const Result other = stories(command + "--layers 2-3");
    EXPECT_THAT(other.out, HasSubstr("0 of them kept"));
    EXPECT_THAT(other.err, HasSubstr("note: traces/a.h5 is made again: part: expected layers 2-3, found layers 0-1"));
    EXPECT_EQ(Trace(trace).info().layer_numbers, (std::vector<std::int64_t>{2, 3}));
    for (const char* options : {"--layers 2-3 --heads 1", "", "--embed-weights", "--store bf16", "--window 3"}) {
        EXPECT_THAT(stories(command + options).out, HasSubstr("0 of them kept")) << options;
        EXPECT_THAT(stories(command + options).out, HasSubstr("1 of them kept")) << options;
    }
    write("traces/a.h5", "damaged");
    EXPECT_THAT(stories(command).err, HasSubstr("traces/a.h5 is made again: traces/a.h5: not an HDF5 file"));
    EXPECT_THAT(stories(command).out, HasSubstr("1 of them kept"));
    write("p.jsonl", "{\"id\": \"b\", \"prompt\": \"Once upon a time\"}\n");
    write("traces/b.h5", "somebody's");
    expect_failure(stories(command), 2, "traces/b.h5: is there and no trace that a capture made");
    EXPECT_EQ(read_file(folder_ / "traces/b.h5"), "somebody's");
}

TEST_F(CaptureProgram, ForecastsAndChecksWithoutTheWeights)
{
    namespace fs = std::filesystem;
    fs::copy(LAVA_SOURCE_DIR "/models/stories260K", folder_ / "model", fs::copy_options::recursive);
    const auto weights = folder_ / "model/model.safetensors";
    const auto size = fs::file_size(weights);
    fs::resize_file(weights, size - 600'000);
    std::ofstream(weights, std::ios::binary | std::ios::app) << std::string(600'000, '\xff'); // NaN
    const std::string command = "--model model --prompt Once -o ";
    EXPECT_THAT(run(command + "t.h5 --dry-run").out, HasSubstr("trace "));
    expect_failure(run(command + "nowhere/t.h5 --dry-run"), 1, "there is no folder");
    expect_failure(run(command + "model/config.json --dry-run"), 2, "would be written over model/config.json");
    expect_failure(run(command + "t.h5"), 1, "found NaN or infinity");
}

TEST_F(CaptureProgram, MissesTensorsBeforeItReadsAny)
{
    namespace fs = std::filesystem;
    fs::copy(LAVA_SOURCE_DIR "/models/stories260K", folder_ / "model", fs::copy_options::recursive);
    auto config = nlohmann::json::parse(read_file(folder_ / "model/config.json"));
    config["num_hidden_layers"] = 6;
    write("model/config.json", config.dump());
    expect_failure(run("--model model --prompt Once -o t.h5 --dry-run"), 1,
        "tensor model.layers.5.input_layernorm.weight: expected shape [64], found no such tensor");
    config["num_hidden_layers"] = 4;
    write("model/config.json", config.dump());
    expect_failure(run("--model model --prompt Once -o t.h5 --dry-run"), 1,
        "tensor model.layers.4.input_layernorm.weight: expected only what a llama model of 4 layers holds");
}

TEST_F(CaptureProgram, NotesWhereRuntimesDisagree)
{
    namespace fs = std::filesystem;
    fs::copy(LAVA_SOURCE_DIR "/models/stories260K", folder_ / "model", fs::copy_options::recursive);
    auto config = nlohmann::json::parse(read_file(folder_ / "model/config.json"));
    config["rope_scaling"]
        = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 128}, {"attn_factor", 0.878}};
    write("model/config.json", config.dump());
    const Result result = run("--model model --prompt Once -o t.h5 --dry-run");
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("note: model/config.json: rope_scaling.attn_factor 0.878 is not applied"));
}

TEST_F(CaptureProgram, ChecksEveryPromptOfAFileBeforeItRunsOne)
{
    write("p.jsonl", "{\"prompt\": \"Once\"}\n{\"ids\": [1, 600]}\n");
    expect_failure(stories("--prompts p.jsonl -o traces"), 1, "p.jsonl: line 2: prompt: token 1: expected an id below");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "traces"));
    write("p.jsonl", "{\"prompt\": \"Once\"}\n{\"prompt\": \"\"}\n");
    expect_failure(stories("--prompts p.jsonl -o traces"), 1, "p.jsonl: line 2: the prompt is empty");
}

TEST_F(CaptureProgram, RefusesContradictionsNamingBoth)
{
    const auto contradiction = [&](const std::string& options, const std::string& first, const std::string& second) {
        expect_failure(stories(options + " -o t.h5"), 2, first + " and " + second + " contradict each other");
    };
    contradiction("--prompt a --ids i.json", "--prompt", "--ids");
    contradiction("--prompt-file a --haystack b", "--prompt-file", "--haystack");
    contradiction("--ids i.json --chat", "--ids", "--chat");
    contradiction("--prompts p.jsonl --reference r.txt", "--reference", "--prompts");
    contradiction("--ids i.json --spans s.json", "--ids", "--spans");
    contradiction("--prompt a --continue 4 --reference r.txt", "--continue", "--reference");
}

TEST_F(CaptureProgram, RefusesWrongUsage)
{
    expect_failure(
        stories("-o t.h5"), 2, "a prompt is missing: give --prompt, --prompt-file, --ids, --prompts or --haystack");
    expect_failure(stories("--prompt a"), 2, "-o FILE is missing");
    expect_failure(run("--prompt a -o t.h5"), 2, "--model DIR is missing");
    expect_failure(stories("--prompt a --needle b -o t.h5"), 2, "--needle needs --haystack");
    expect_failure(stories("--haystack a --needle b --depth 0.5 --tokens 9 -o t.h5"), 2, "--haystack needs --question");
    expect_failure(stories("--prompt a --window 0 -o t.h5"), 2, "--window: expected 1 to");
    expect_failure(stories("--prompt a --chunk 0 -o t.h5"), 2, "--chunk: expected 1 to");
    expect_failure(stories("--prompt a --deflate 10 -o t.h5"), 2, "--deflate: expected 0 to 9, found 10");
    expect_failure(stories("--prompts p.jsonl"), 2, "-o FOLDER is missing");
    expect_failure(stories("--prompt a --continue -1 -o t.h5"), 2, "--continue: expected 0 to");
    expect_failure(stories("--prompt a --store f64 -o t.h5"), 2, "--store: expected f32, f16 or bf16, found f64");
    expect_failure(
        stories("--prompt a --dtype int8 -o t.h5"), 2, "--dtype: expected float32, float16 or bfloat16, found int8");
    expect_failure(
        stories("--prompt a --device gpu -o t.h5"), 2, "--device: expected cpu, cuda or cuda:N, found 'gpu'");
    expect_failure(stories("--prompt a --device cpu,cuda:99 -o t.h5"), 2, "found 'cuda:99'");
    expect_failure(stories("--prompt a --device cpu,cpu,cpu,cpu,cpu,cpu -o t.h5"), 2,
        "--device: expected at most 5 devices, one for each of the model's layers, found 6");
    expect_failure(stories("--prompt a --windo 4 -o t.h5"), 2, "windo");
    expect_failure(stories("--prompt a stray -o t.h5"), 2, "'stray' belongs to no option");
}

TEST_F(CaptureProgram, SaysInOneSentenceWhatFailed)
{
    write("ids.json", "[1, 600]");
    write("bad.txt", "caf\xe9!");
    write("long.txt", std::string(4000, 'a'));
    expect_failure(run("--model nowhere --prompt a -o t.h5"), 1, "nowhere");
    write("tiny.Q4_1.gguf", "GGUF\x03");
    expect_failure(run("--model tiny.Q4_1.gguf --prompt a -o t.h5"), 1,
        "tiny.Q4_1.gguf: a GGUF file, expected a Hugging Face folder; of a Llama model, python3 "
        "model/convert/convert_gguf.py tiny.Q4_1.gguf -o FOLDER makes one");
    expect_failure(
        stories("--ids ids.json -o t.h5"), 1, "token 1: expected an id below 512, the model's vocabulary, found 600");
    expect_failure(stories("--prompt-file bad.txt -o t.h5"), 1, "bad.txt: the text is not valid UTF-8 at byte 3");
    expect_failure(stories("--prompt-file nowhere.txt -o t.h5"), 1, "nowhere.txt: cannot be read");
    expect_failure(stories("--prompt-file long.txt -o t.h5"), 1, "exceed the model's context of 512");
    expect_failure(stories("--prompt '' -o t.h5"), 1, "the prompt is empty");
    expect_failure(stories("--prompt a --chat -o t.h5"), 1, "no chat template");
    expect_failure(stories("--prompt a -o nowhere/t.h5"), 1, "nowhere");
}

TEST_F(CaptureProgram, NamesAWeightsFileOfAnotherModelBeforeItRuns)
{
    ASSERT_EQ(stories("--prompt a -o other.h5").status, 0);
    std::filesystem::copy_file(
        folder_ / "other.h5", folder_ / "stories260K.weights.h5", std::filesystem::copy_options::overwrite_existing);
    expect_failure(stories("--prompt a -o t.h5"), 1, "stories260K.weights.h5");
}

TEST_F(CaptureProgram, LeavesNothingBehindWhereTheDiskIsFull)
{
    // a limit on the size of files fails a write as a full disk does
    const Result result = stories("--prompt 'Once upon a time' -o t.h5", "trap '' XFSZ; ulimit -f 20; ");
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr("lava-capture: "));
    EXPECT_THAT(result.err, Not(HasSubstr("HDF5-DIAG")));
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
        EXPECT_EQ(entry.path().extension(), ".txt") << entry.path();
    }
}

TEST_F(CaptureProgram, ExplainsItself)
{
    const Result help = run("--help");
    EXPECT_EQ(help.status, 0);
    EXPECT_THAT(
        help.out, AllOf(HasSubstr("Usage: lava-capture"), HasSubstr("--haystack"), HasSubstr("--embed-weights")));
    EXPECT_THAT(run("--version").out, HasSubstr("lava-capture 0."));
}

} // namespace
} // namespace lava
