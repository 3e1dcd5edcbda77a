#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace lava::h5 {

/// An array and the chunks that a dataset stores it in.
struct ChunkedArray
{
    const void* data;
    std::size_t element; ///< bytes
    std::vector<hsize_t> shape;
    std::vector<hsize_t> chunk; ///< a chunk's shape; those at the end are filled up with zeros
};

/// Writes all chunks, shuffled and deflated at `level` as HDF5's own filters would. HDF5 does that on one thread; here
/// `threads` of them share the chunks, and the bytes do not depend on their number. `done` is called with every index
/// along the first dimension, in order, once all before it and its own part are written; it may be empty. Returns false
/// where HDF5 refuses, which then has the reason.
bool write_deflated(
    hid_t dataset, const ChunkedArray& array, int level, int threads, const std::function<void(std::int64_t)>& done);

} // namespace lava::h5
