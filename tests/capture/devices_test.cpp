#include "compute/devices.h"

#include "base/error.h"
#include "capture/recorder.h"
#include "tests/capture/fake_devices.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

namespace lava {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const at::Device first{at::kPrivateUse1, 0}, second{at::kPrivateUse1, 1};

class Devices : public testing::Test
{
protected:
    static void SetUpTestSuite() { test::register_fake_devices(); }
    const Checkpoint stories{std::filesystem::path(LAVA_SOURCE_DIR) / "models/stories260K"}; // five layers
};

TEST_F(Devices, AreNamedByAList)
{
    EXPECT_THAT(parse_devices("cpu"), ElementsAre(at::kCPU));
    EXPECT_THAT(parse_devices("privateuseone:1,cpu,privateuseone"), ElementsAre(second, at::kCPU, first));
}

TEST_F(Devices, ThatAreUnknownOrNamedTwiceAreRefused)
{
    const auto refusal = [](const std::string& names, const std::string& sentence) {
        EXPECT_THAT([&] { parse_devices(names); }, ThrowsMessage<UsageError>(HasSubstr(sentence))) << names;
    };
    for (const std::string name : {"gpu", "", "cpu:0", "cuda:x", "cuda:", "cuda:-1", "cuda:128", "cuda:1x", "cuda 1"}) {
        refusal(name, "--device: expected cpu, cuda or cuda:N, found '" + name + "'");
        refusal("cpu," + name, "expected cpu, cuda or cuda:N, found '" + name + "'");
    }
    refusal("cuda:99", "found 'cuda:99'"); // what was expected depends on the machine
    refusal("privateuseone:2", "found 'privateuseone:2'");
    refusal("privateuseone,privateuseone:0", "expected each GPU once, but privateuseone:0 is there twice");
}

TEST_F(Devices, TakeRangesOfLayersAsEvenAsCanBe)
{
    EXPECT_THAT(devices_of_layers({first, second}, 5), ElementsAre(first, first, first, second, second));
    EXPECT_THAT(devices_of_layers({at::kCPU, second, first}, 4), ElementsAre(at::kCPU, at::kCPU, second, first));
    EXPECT_THAT(
        [&] {
            devices_of_layers({first, second, at::kCPU}, 2);
        },
        ThrowsMessage<UsageError>(
            HasSubstr("expected at most 2 devices, one for each of the model's layers, found 3")));
}

TEST_F(Devices, HoldTheWeightsAndCachesOfTheirLayers)
{
    const Decoder decoder(stories, {.device = "privateuseone:0,privateuseone:1", .dtype = ""});
    KvCache cache;
    const auto logits = decoder.forward(std::vector<std::int64_t>{1, 403, 407}, cache, nullptr, true);
    EXPECT_EQ(logits.device(), second);
    EXPECT_EQ(decoder.lm_head(0, 1).device(), second);
    for (std::int64_t layer = 0; layer < 5; ++layer) {
        const at::Device expected = layer < 3 ? first : second;
        EXPECT_EQ(decoder.device_of(layer), expected);
        EXPECT_EQ(decoder.w_o(layer).device(), expected);
        EXPECT_EQ(cache.k[static_cast<std::size_t>(layer)].device(), expected);
    }
    // three layers of five and a norm: neither holds what the other one does
    const long long layers = 4 * 3 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 172 * 64 + 2 * 64);
    EXPECT_GE(test::bytes_on_fake_device(0), layers);
    EXPECT_LT(test::bytes_on_fake_device(0), layers * 11 / 10);
}

TEST_F(Devices, RefuseToMixTensors)
{
    const auto a = at::ones({2, 2}, at::Device(first)), b = at::ones({2, 2}, at::Device(second));
    EXPECT_THROW((void)(a + b), std::exception) << "or the next tests would prove nothing";
    EXPECT_THROW((void)at::mm(a, at::ones({2, 2})), std::exception);
    EXPECT_EQ((a + b.to(first)).sum().item<double>(), 8);
}

TEST_F(Devices, GiveTheLogitsOfOneDevice)
{
    const std::vector<std::int64_t> prompt{1, 403, 407, 261, 378}, step{432};
    const auto logits = [&](const std::string& devices) {
        const Decoder decoder(stories, {.device = devices, .dtype = ""});
        KvCache cache;
        const auto of_prompt = decoder.forward(prompt, cache, nullptr, true);
        return at::cat({of_prompt, decoder.forward(step, cache, nullptr, true)}).cpu();
    };
    const auto expected = logits("privateuseone:0");
    EXPECT_TRUE(at::equal(logits("privateuseone:1,privateuseone:0"), expected));
    // the CPU's own layers go through other kernels
    EXPECT_TRUE(at::allclose(logits("privateuseone:0,cpu"), expected, 0, 1e-4));
    EXPECT_TRUE(at::allclose(logits("cpu,privateuseone:0,privateuseone:1"), expected, 0, 1e-4));
}

/// What is captured of stories260K, each time into the same file.
struct Capture
{
    Evaluation evaluation;
    std::optional<RepeatTexts> repeat;
    bool resume;
};

const Evaluation three_steps{.steps = 3, .reference = {}};

class DeviceCaptures : public Devices
{
protected:
    /// The trace as captured on `devices`, interrupted after so many steps of work where it is asked.
    std::string bytes(const Capture& capture, const std::string& devices, std::int64_t interrupt = -1) const
    {
        const Decoder decoder(stories, {.device = devices, .dtype = ""});
        TraceInfo info;
        info.generator = "test";
        info.model_name = "stories260K";
        info.run_dtype = "float32";
        info.device = "several"; // what is compared should not depend on their names
        info.prompt_ids.resize(300);
        std::iota(info.prompt_ids.begin(), info.prompt_ids.end(), 100);
        RecordOptions options;
        options.window = 16;
        options.chunk = 128;
        options.repeat = capture.repeat;
        info = complete_info(info, decoder.config(), capture.evaluation, options);
        StoreOptions store;
        store.trace = folder_ / "trace.h5";
        store.resume = capture.resume;
        record_trace(decoder, info, capture.evaluation, options, store, nullptr, [&] {
            if (interrupt-- == 0)
                throw std::runtime_error("interrupted");
        });
        return file_bytes(store.trace);
    }

    TemporaryFolder folder_;
};

TEST_F(DeviceCaptures, RecordTheTraceOfOneDevice)
{
    const Capture greedy{three_steps, std::nullopt, false};
    Evaluation two_steps;
    two_steps.reference = {9, 8};
    const Capture reference{two_steps, RepeatTexts{2, {5, 6}, {7}, {8}}, false};
    for (const Capture* capture : {&greedy, &reference}) {
        const std::string expected = bytes(*capture, "privateuseone:0");
        EXPECT_FALSE(expected.empty());
        EXPECT_TRUE(bytes(*capture, "privateuseone:0,privateuseone:1") == expected);
    }
    EXPECT_TRUE(bytes(greedy, "cpu,cpu") == bytes(greedy, "cpu"));
}

TEST_F(DeviceCaptures, GoOnFromAnInterruptionWithEachLayerInItsPlace)
{
    const std::string devices = "privateuseone:1,privateuseone:0";
    const std::string expected = bytes({three_steps, std::nullopt, false}, devices);
    for (const std::int64_t interrupt : {1, 4, 6}) { // in the first range, after the last layer, in the steps
        EXPECT_THROW(bytes({three_steps, std::nullopt, true}, devices, interrupt), std::runtime_error);
        EXPECT_TRUE(std::filesystem::exists(folder_ / "trace.h5.resume"));
        EXPECT_TRUE(bytes({three_steps, std::nullopt, true}, devices) == expected) << interrupt;
    }
}

} // namespace
} // namespace lava
