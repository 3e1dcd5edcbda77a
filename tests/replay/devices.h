#pragma once

#include "base/error.h"
#include "compute/cuda/machine_device.h"
#include "compute/device.h"
#include "tests/emulated_machine.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lava::testing {

/// The CUDA kernels, run on the CPU.
inline cuda::MachineDevice<cuda::testing::EmulatedMachine> emulated_device(cuda::testing::Order order)
{
    return cuda::MachineDevice(cuda::testing::EmulatedMachine(order));
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
        static const auto emulated = emulated_device(cuda::testing::Order::ascending);
        static const auto reversed = emulated_device(cuda::testing::Order::descending);
        if (GetParam() != "emulated" && GetParam() != "reversed") {
            try {
                device_ = &device_of(GetParam());
            } catch (const Error& error) {
                GTEST_SKIP() << error.what();
            }
        } else {
            device_ = GetParam() == "emulated" ? &emulated : &reversed;
        }
    }

    const Device& device() const { return *device_; }

private:
    const Device* device_ = nullptr; // set before any test runs
};

} // namespace lava::testing
