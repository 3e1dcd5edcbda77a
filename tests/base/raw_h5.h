#pragma once

// Files made and read by plain HDF5 calls, so that reader and writer are each tested against an independent partner.

#include "tests/temporary_folder.h"

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace lava::test {

void raw_attribute(hid_t file, const char* object, const char* name, std::int64_t value);
void raw_attribute(hid_t file, const char* object, const char* name, const char* value);
void raw_delete_attribute(hid_t file, const char* object, const char* name);

/// Replaces the dataset; missing groups are made.
void raw_dataset(hid_t file, const char* path, hid_t type, const std::vector<hsize_t>& shape, const void* values);
/// float32 values 0.25, 0.5, ... or `values`.
void raw_floats(hid_t file, const char* path, const std::vector<hsize_t>& shape, std::vector<float> values = {});
void raw_delete(hid_t file, const char* path);

std::vector<float> raw_read_floats(hid_t file, const char* path);
std::vector<hsize_t> raw_shape(hid_t file, const char* path);
std::int64_t raw_read_int(hid_t file, const char* object, const char* name);
std::string raw_read_string(hid_t file, const char* object, const char* name);

/// A complete trace of 2 layers, 4 query heads, 2 KV heads, head_dim 3, hidden_size 5, vocab_size 7, seq_len 6,
/// window 2, eval_len 2, changed by `edit` before it closes.
std::filesystem::path raw_trace(
    const std::filesystem::path& file, const std::function<void(hid_t)>& edit = [](hid_t) {});

/// The message of the Error that `action` throws; fails the test where it throws none.
std::string error_of(const std::function<void()>& action);

} // namespace lava::test
