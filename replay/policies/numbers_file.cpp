#include "replay/policies/numbers_file.h"

#include "analysis/npy.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "base/text.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace lava {

namespace {

std::string read_bytes(const std::string& file)
{
    std::ifstream in(file, std::ios::binary);
    if (!in || std::filesystem::is_directory(file)) {
        throw Error(file + ": cannot be read");
    }
    std::ostringstream bytes;
    bytes << in.rdbuf();
    return bytes.str();
}

void flatten(const std::string& file, const nlohmann::json& json, std::size_t depth, std::vector<std::int64_t>& shape,
    std::vector<double>& values)
{
    if (json.is_number()) {
        if (depth != shape.size()) {
            throw Error(file + ": expected lists of equal depth");
        }
        values.push_back(json.get<double>());
        return;
    }
    const auto size = json.is_array() ? static_cast<std::int64_t>(json.size()) : 0;
    if (size == 0) {
        throw Error(file + ": expected nested lists of numbers, found " + json.type_name());
    }
    if (depth == shape.size() && values.empty()) {
        shape.push_back(size);
    }
    if (depth >= shape.size() || shape[depth] != size) {
        throw Error(file + ": expected lists of equal length");
    }
    for (const auto& item : json) {
        flatten(file, item, depth + 1, shape, values);
    }
}

at::Tensor read_rows_of_json(const std::string& file)
{
    std::vector<std::int64_t> shape;
    std::vector<double> values;
    flatten(file, parse_json_file(file), 0, shape, values);
    return at::tensor(values, at::kDouble).view(shape);
}

std::vector<double> read_row(const std::string& file, const std::string& line)
{
    std::vector<double> row;
    const char* begin = line.data();
    const char* const end = begin + line.size();
    while (true) {
        while (begin != end && std::strchr(" \t,\r", *begin) != nullptr) {
            ++begin;
        }
        if (begin == end) {
            return row;
        }
        double value = 0;
        const auto [rest, error] = std::from_chars(begin, end, value);
        if (error != std::errc()) {
            throw Error(file + ": expected rows of numbers, found '" + line + "'");
        }
        row.push_back(value);
        begin = rest;
    }
}

at::Tensor read_rows(const std::string& file)
{
    std::istringstream in(read_bytes(file));
    std::vector<double> values;
    std::int64_t rows = 0;
    std::size_t columns = 0;
    for (std::string line; std::getline(in, line);) {
        const auto row = read_row(file, line);
        if (row.empty()) {
            continue;
        }
        if (rows > 0 && row.size() != columns) {
            throw Error(formatted("{}: expected {} numbers in a row, found '{}'", file, columns, line));
        }
        columns = row.size();
        values.insert(values.end(), row.begin(), row.end());
        ++rows;
    }
    return at::tensor(values, at::kDouble).view({rows, static_cast<std::int64_t>(columns)});
}

at::Tensor read_array(const std::string& file)
{
    const auto array = read_npy(file);
    return at::tensor(array.values, at::kDouble).view(array.shape);
}

at::Tensor read_numbers(const std::string& file)
{
    const auto extension = std::filesystem::path(file).extension();
    return extension == ".npy" ? read_array(file) : extension == ".json" ? read_rows_of_json(file) : read_rows(file);
}

} // namespace

NumbersFile::NumbersFile(std::string file)
    : file_(std::move(file))
    , numbers_(read_numbers(file_))
{
    if (!at::isfinite(numbers_).all().item<bool>()) {
        throw Error(file_ + ": expected finite numbers");
    }
}

const at::Tensor& NumbersFile::of_shape(at::IntArrayRef shape) const
{
    if (numbers_.sizes() != shape) {
        throw Error(file_ + ": expected numbers " + shape_text(shape) + " (the trace's), found "
            + shape_text(numbers_.sizes()));
    }
    return numbers_;
}

} // namespace lava
