#include "compute/own_pages.h"

#include <ATen/ATen.h>

#include <new>

#include <sys/mman.h>

namespace lava {

at::Tensor empty_in_own_pages(at::IntArrayRef sizes, at::ScalarType dtype)
{
    const auto bytes = static_cast<std::size_t>(c10::multiply_integers(sizes)) * at::elementSize(dtype);
    void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        throw std::bad_alloc();
    return at::from_blob(
        pages, sizes, [bytes](void* memory) { ::munmap(memory, bytes); }, at::TensorOptions(dtype));
}

} // namespace lava
