#pragma once

namespace lava::test {

/// Lets LibTorch know two devices, "privateuseone:0" and "privateuseone:1", whose memory is the CPU's and which run the
/// CPU's kernels. Like GPUs they refuse an operation on tensors of different devices.
void register_fake_devices();

/// Bytes that live on a fake device.
long long bytes_on_fake_device(int index);

} // namespace lava::test
