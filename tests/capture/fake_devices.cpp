#include "tests/capture/fake_devices.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace lava::test {

namespace {

constexpr auto fake = at::kPrivateUse1;
constexpr int count = 2;
thread_local c10::DeviceIndex current = 0;
std::array<std::atomic<long long>, count> live_bytes;

struct Guard final : c10::impl::DeviceGuardImplInterface
{
    c10::DeviceType type() const override { return fake; }
    c10::Device exchangeDevice(c10::Device device) const override
    {
        const auto before = current;
        current = device.index();
        return {fake, before};
    }
    c10::Device getDevice() const override { return {fake, current}; }
    void setDevice(c10::Device device) const override { current = device.index(); }
    void uncheckedSetDevice(c10::Device device) const noexcept override { current = device.index(); }
    c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
    c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
    c10::DeviceIndex deviceCount() const noexcept override { return count; }
};

/// What is freed must say how much it was, and where.
struct Block
{
    void* data;
    long long size;
    c10::DeviceIndex device;
};

void free_block(void* context)
{
    auto* block = static_cast<Block*>(context);
    live_bytes[static_cast<std::size_t>(block->device)] -= block->size;
    std::free(block->data);
    delete block;
}

struct Memory final : c10::Allocator
{
    c10::DataPtr allocate(std::size_t size) override
    {
        const std::size_t whole = (size + 63) / 64 * 64;
        auto* block
            = new Block{size == 0 ? nullptr : std::aligned_alloc(64, whole), static_cast<long long>(size), current};
        live_bytes[static_cast<std::size_t>(current)] += block->size;
        return {block->data, block, &free_block, {fake, current}};
    }
    c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
    void copy_data(void* to, const void* from, std::size_t size) const override { std::memcpy(to, from, size); }
};

Memory memory;

c10::DeviceIndex index_of(std::optional<c10::Device> device)
{
    return device && device->has_index() ? device->index() : current;
}

at::Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format)
{
    const c10::DeviceGuard guard({fake, index_of(device)});
    return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &memory,
        c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>)
{
    const c10::DeviceGuard guard({fake, index_of(device)});
    return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), &memory,
        c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype.value_or(at::kFloat));
}

at::Tensor on_cpu(const at::Tensor& tensor)
{
    return tensor.is_cpu()
        ? tensor
        : at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), at::TensorOptions(tensor.scalar_type()));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& to, bool)
{
    on_cpu(to).copy_(on_cpu(self));
    return to;
}

const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size, std::optional<at::MemoryFormat>)
{
    const c10::DeviceGuard guard(self.device());
    at::native::resize_impl_cpu_(self.unsafeGetTensorImpl(), C10_AS_INTARRAYREF_SLOW(size), std::nullopt);
    return self;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& to)
{
    to.resize_(self.sizes());
    return copy_from(self, to, false);
}

at::Tensor as_strided(
    const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<c10::SymInt> offset)
{
    return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
        offset ? std::optional(offset->expect_int()) : std::nullopt);
}

at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride)
{
    return as_strided(self, size, stride, std::nullopt);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size)
{
    return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

void require_device(const at::Tensor& tensor, const at::Device& device, const c10::OperatorHandle& op)
{
    if (tensor.defined() && tensor.dim() > 0 && tensor.device() != device)
        throw std::logic_error(op.schema().name() + ": expected " + device.str() + ", found " + tensor.device().str());
}

/// Everything else: the CPU's kernel, where all tensors are on one device.
void fall_back(const c10::OperatorHandle& op, torch::jit::Stack* stack)
{
    std::vector<at::Tensor> tensors;
    for (const auto& value : torch::jit::last(*stack, op.schema().arguments().size())) {
        if (value.isTensor())
            tensors.push_back(value.toTensor());
        else if (value.isTensorList())
            for (const at::Tensor& tensor : value.toTensorVector())
                tensors.push_back(tensor);
    }
    for (const at::Tensor& tensor : tensors)
        for (const at::Tensor& other : tensors)
            if (tensor.defined() && tensor.dim() > 0)
                require_device(other, tensor.device(), op);
    at::native::cpu_fallback(op, stack);
}

} // namespace

void register_fake_devices()
{
    static const c10::impl::DeviceGuardImplRegistrar registrar(fake, new Guard);
    c10::SetAllocator(fake, &memory);
    static torch::Library fallback(torch::Library::IMPL, "_", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
    static torch::Library aten(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
    static const bool once = [] {
        fallback.fallback(torch::CppFunction::makeFromBoxedFunction<&fall_back>());
        aten.impl("empty.memory_format", empty);
        aten.impl("empty_strided", empty_strided);
        aten.impl("_copy_from", copy_from);
        aten.impl("resize_", resize);
        aten.impl("_copy_from_and_resize", copy_from_and_resize);
        aten.impl("as_strided", as_strided);
        aten.impl("_reshape_alias", reshape_alias);
        aten.impl("view", view);
        return true;
    }();
    (void)once;
}

long long bytes_on_fake_device(int index)
{
    return live_bytes.at(static_cast<std::size_t>(index));
}

} // namespace lava::test
