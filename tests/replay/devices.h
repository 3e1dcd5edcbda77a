#pragma once

#include "base/error.h"
#include "compute/cuda/machine_functions.h"
#include "compute/device.h"
#include "tests/emulated_machine.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lava::testing {

/// The CUDA kernels, run on the CPU.
inline ReplayDevice emulated_device(cuda::testing::Order order)
{
    using Machine = cuda::testing::EmulatedMachine;
    const Machine machine(order);
    return {[=](const LossInputs& inputs) -> std::unique_ptr<LossEngine> {
                return std::make_unique<cuda::LayerLosses<Machine>>(machine, inputs);
            },
        [=](const WindowInputs& inputs) { return cuda::window_means_on(machine, inputs); },
        [=](const float* values, std::int64_t heads, std::int64_t count) {
            return cuda::descending_orders_on(machine, values, heads, count);
        }};
}

/// "cpu", the emulation with threads and blocks in order and in reverse order, and "cuda".
inline std::vector<std::string> device_names()
{
    return {"cpu", "emulated", "reversed", "cuda"};
}

/// A test for each of some device_names(); that of a GPU is skipped where there is none, or no kernels for it.
class OnDevice : public ::testing::TestWithParam<std::string>
{
protected:
    void SetUp() override
    {
        static const ReplayDevice emulated = emulated_device(cuda::testing::Order::ascending);
        static const ReplayDevice reversed = emulated_device(cuda::testing::Order::descending);
        if (GetParam() != "emulated" && GetParam() != "reversed") {
            try {
                device_ = replay_device(GetParam());
            } catch (const Error& error) {
                GTEST_SKIP() << error.what();
            }
        } else {
            device_ = GetParam() == "emulated" ? &emulated : &reversed;
        }
    }

    /// Null: this processor.
    const ReplayDevice* device() const { return device_; }

private:
    const ReplayDevice* device_ = nullptr;
};

} // namespace lava::testing
