#include "base/hdf5/deflated_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <thread>

namespace lava::h5 {

namespace {

using Bytes = std::vector<std::byte>;

std::size_t product(const std::vector<hsize_t>& extents, std::size_t first = 0)
{
    std::size_t count = 1;
    for (std::size_t i = first; i < extents.size(); ++i)
        count *= extents[i];
    return count;
}

/// Chunks along each dimension.
std::vector<hsize_t> grid_of(const ChunkedArray& array)
{
    std::vector<hsize_t> grid;
    for (std::size_t i = 0; i < array.shape.size(); ++i)
        grid.push_back((array.shape[i] + array.chunk[i] - 1) / array.chunk[i]);
    return grid;
}

/// Where the index-th chunk in row-major order begins.
std::vector<hsize_t> origin_of(const ChunkedArray& array, const std::vector<hsize_t>& grid, std::size_t index)
{
    std::vector<hsize_t> origin(grid.size());
    for (auto i = grid.size(); i-- > 0; index /= grid[i])
        origin[i] = index % grid[i] * array.chunk[i];
    return origin;
}

/// Copies what the array has of a chunk from dimension `dim` on.
void copy_part(const ChunkedArray& array, const std::vector<hsize_t>& origin, std::size_t dim, const std::byte* from,
    std::byte* to)
{
    const auto rows = std::min(array.chunk[dim], array.shape[dim] - origin[dim]);
    const auto from_stride = product(array.shape, dim + 1) * array.element;
    const auto to_stride = product(array.chunk, dim + 1) * array.element;
    from += origin[dim] * from_stride;
    if (dim + 1 == array.shape.size()) {
        std::memcpy(to, from, rows * array.element);
        return;
    }
    for (hsize_t row = 0; row < rows; ++row)
        copy_part(array, origin, dim + 1, from + row * from_stride, to + row * to_stride);
}

/// The first bytes of all elements, then the second ones, and so on.
void shuffle(const Bytes& plain, std::size_t element, Bytes& shuffled)
{
    const auto count = plain.size() / element;
    for (std::size_t byte = 0; byte < element; ++byte)
        for (std::size_t i = 0; i < count; ++i)
            shuffled[byte * count + i] = plain[i * element + byte];
}

/// One chunk, and the memory that it takes to make it.
struct Job
{
    std::vector<hsize_t> origin;
    Bytes plain, shuffled, deflated;
    std::size_t size = 0; ///< of `deflated`; 0: there was no memory for it

    void run(const ChunkedArray& array, int level)
    {
        plain.assign(product(array.chunk) * array.element, std::byte{});
        copy_part(array, origin, 0, static_cast<const std::byte*>(array.data), plain.data());
        shuffled.resize(plain.size());
        shuffle(plain, array.element, shuffled);
        uLongf length = compressBound(plain.size());
        deflated.resize(length);
        const int status = compress2(reinterpret_cast<Bytef*>(deflated.data()), &length,
            reinterpret_cast<const Bytef*>(shuffled.data()), shuffled.size(), level);
        size = status == Z_OK ? length : 0;
    }
};

} // namespace

bool write_deflated(
    hid_t dataset, const ChunkedArray& array, int level, int threads, const std::function<void(std::int64_t)>& done)
{
    const auto grid = grid_of(array);
    const auto chunks = product(grid), per_row = product(grid, 1);
    std::vector<Job> jobs(std::min<std::size_t>(static_cast<std::size_t>(threads), chunks));
    hsize_t written = 0; // along the first dimension
    for (std::size_t first = 0; first < chunks; first += jobs.size()) {
        const auto count = std::min(jobs.size(), chunks - first);
        for (std::size_t i = 0; i < count; ++i)
            jobs[i].origin = origin_of(array, grid, first + i);
        {
            std::vector<std::jthread> others;
            for (std::size_t i = 1; i < count; ++i)
                others.emplace_back([&, i] { jobs[i].run(array, level); });
            jobs[0].run(array, level);
        }
        for (std::size_t i = 0; i < count; ++i) {
            if (jobs[i].size == 0)
                throw std::bad_alloc();
            if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, jobs[i].origin.data(), jobs[i].size, jobs[i].deflated.data())
                < 0)
                return false;
        }
        const auto complete = std::min<hsize_t>((first + count) / per_row * array.chunk[0], array.shape[0]);
        for (; done && written < complete; ++written)
            done(static_cast<std::int64_t>(written));
    }
    return true;
}

} // namespace lava::h5
