#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace lava {

/// Memory of `bytes` bytes; from `large_bytes` on in a file that has no name, in the folder for temporary ones,
/// so that what is not used can leave memory. Where that folder has no room it is ordinary memory. Throws
/// std::bad_alloc.
void* allocate_large(std::size_t bytes);
void free_large(void* memory, std::size_t bytes) noexcept;

inline constexpr std::size_t large_bytes = std::size_t{1} << 20;

/// Lets [first, last) of memory from allocate_large(bytes) leave it, where it can; what it holds comes back when it is
/// read.
void leave_memory(const void* memory, std::size_t bytes, std::size_t first, std::size_t last);

/// Elements are not set to zero.
template <typename T> struct LargeAllocator
{
    using value_type = T;
    static_assert(std::is_trivial_v<T>);

    LargeAllocator() = default;
    template <typename U> explicit LargeAllocator(const LargeAllocator<U>& /*other*/) { }

    T* allocate(std::size_t count) { return static_cast<T*>(allocate_large(count * sizeof(T))); }
    void deallocate(T* memory, std::size_t count) noexcept { free_large(memory, count * sizeof(T)); }

    template <typename U, typename... Arguments> void construct(U* at, Arguments&&... arguments)
    {
        if constexpr (sizeof...(arguments) > 0)
            ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
    }

    bool operator==(const LargeAllocator& /*other*/) const { return true; }
};

/// An array that may be larger than what there is of memory, if it is used part by part.
template <typename T> using LargeVector = std::vector<T, LargeAllocator<T>>;

/// Lets `count` elements from the first-th on leave memory until they are read.
template <typename T> void leave_memory(const LargeVector<T>& values, std::size_t first, std::size_t count)
{
    leave_memory(values.data(), values.capacity() * sizeof(T), first * sizeof(T), (first + count) * sizeof(T));
}

template <typename T> void leave_memory(const LargeVector<T>& values)
{
    leave_memory(values, 0, values.size());
}

} // namespace lava
