#include "base/large_vector.h"

#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <new>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace lava {

namespace {

/// Before the memory of a mapping lies a page that says what it is.
struct Header
{
    bool is_file;
};

std::size_t page_size()
{
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

/// A file without a name, with room for `bytes`; -1 where there is none.
int temporary_file(std::size_t bytes)
{
    std::error_code failed;
    auto name = (std::filesystem::temp_directory_path(failed) / "lava-XXXXXX").string();
    if (failed)
        return -1;
    const int file = ::mkostemp(name.data(), O_CLOEXEC);
    if (file < 0)
        return -1;
    ::unlink(name.c_str());
    // all of it now: a page that finds no room when it is written to would end the program
    if (::posix_fallocate(file, 0, static_cast<off_t>(bytes)) == 0)
        return file;
    ::close(file);
    return -1;
}

} // namespace

void* allocate_large(std::size_t bytes)
{
    if (bytes < large_bytes)
        return ::operator new(bytes);
    const auto size = bytes + page_size();
    const int file = temporary_file(size);
    void* memory = file < 0 ? MAP_FAILED : ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        ::close(file);
    const bool is_file = memory != MAP_FAILED;
    if (!is_file)
        memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw std::bad_alloc();
    new (memory) Header{is_file};
    return static_cast<std::byte*>(memory) + page_size();
}

void free_large(void* memory, std::size_t bytes) noexcept
{
    if (bytes < large_bytes)
        ::operator delete(memory);
    else
        ::munmap(static_cast<std::byte*>(memory) - page_size(), bytes + page_size());
}

void leave_memory(const void* memory, std::size_t bytes, std::size_t first, std::size_t last)
{
    if (bytes < large_bytes)
        return;
    const auto* begin = static_cast<const std::byte*>(memory);
    const auto is_file = reinterpret_cast<const Header*>(begin - page_size())->is_file;
    const auto page = page_size();
    const auto from = (first + page - 1) / page * page, to = last / page * page; // whole pages of what is meant
    if (is_file && from < to) // ordinary memory would lose its contents
        ::madvise(const_cast<std::byte*>(begin) + from, to - from, MADV_DONTNEED);
}

} // namespace lava
