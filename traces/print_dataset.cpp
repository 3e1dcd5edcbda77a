#include "traces/print_dataset.h"

#include "base/formatted.h"
#include "base/hdf5/h5.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <functional>
#include <ostream>

namespace lava {

namespace {

/// A slice that was fitted to the axis.
struct Range
{
    std::int64_t begin;
    std::int64_t end;
};

std::vector<Range> fit(const h5::Group& root, const std::string& dataset, const std::vector<AxisSlice>& slices,
    const std::vector<std::int64_t>& shape)
{
    if (slices.size() > shape.size())
        root.fail(dataset, formatted("--slice: expected at most {} axes, found {}", shape.size(), slices.size()));
    std::vector<Range> ranges;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        const auto slice = axis < slices.size() ? slices[axis] : AxisSlice{};
        const Range range = {slice.begin.value_or(0), slice.end.value_or(shape[axis])};
        if (range.begin > range.end || range.end > shape[axis])
            root.fail(dataset,
                formatted("--slice: axis {}: expected a part of 0:{}, found {}:{}", axis, shape[axis], range.begin,
                    range.end));
        ranges.push_back(range);
    }
    return ranges;
}

template <typename T> T load(const char* bytes)
{
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
}

float half_to_float(std::uint16_t bits)
{
    const int exponent = (bits >> 10) & 31;
    const auto fraction = static_cast<float>(bits & 1023);
    const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
    if (exponent == 31)
        return fraction == 0 ? sign * INFINITY : NAN;
    return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

float bfloat16_to_float(std::uint16_t bits)
{
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

template <typename T> std::string shortest(T value)
{
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    return {text, end};
}

std::string format(const char* bytes, h5::Type type, bool is_bfloat16)
{
    switch (type) {
    case h5::Type::u8:
        return shortest(static_cast<unsigned>(load<std::uint8_t>(bytes)));
    case h5::Type::u16:
        return is_bfloat16 ? shortest(bfloat16_to_float(load<std::uint16_t>(bytes)))
                           : shortest(load<std::uint16_t>(bytes));
    case h5::Type::bf16:
        return shortest(bfloat16_to_float(load<std::uint16_t>(bytes)));
    case h5::Type::u32:
        return shortest(load<std::uint32_t>(bytes));
    case h5::Type::i32:
        return shortest(load<std::int32_t>(bytes));
    case h5::Type::i64:
        return shortest(load<std::int64_t>(bytes));
    case h5::Type::f16:
        return shortest(half_to_float(load<std::uint16_t>(bytes)));
    case h5::Type::f32:
        return shortest(load<float>(bytes));
    case h5::Type::f64:
        return shortest(load<double>(bytes));
    }
    throw std::logic_error("unknown type");
}

/// Calls `visit` with the flat index of every chosen element, last axis fastest.
void visit_elements(const std::vector<std::int64_t>& shape, const std::vector<Range>& ranges,
    const std::function<void(std::int64_t index, bool last_in_row)>& visit, std::size_t axis = 0, std::int64_t base = 0)
{
    if (axis == shape.size())
        return visit(base, true);
    for (auto i = ranges[axis].begin; i < ranges[axis].end; ++i) {
        const auto index = base * shape[axis] + i;
        if (axis + 1 == shape.size())
            visit(index, i + 1 == ranges[axis].end);
        else
            visit_elements(shape, ranges, visit, axis + 1, index);
    }
}

} // namespace

void print_dataset(const PrintCommand& command, std::ostream& out)
{
    const auto root = h5::Group::open_file(command.file);
    auto name = command.dataset;
    name.erase(0, name.find_first_not_of('/'));
    const auto info = root.info(name);
    const auto ranges = fit(root, name, command.slices, info.shape);
    const bool is_bfloat16 = root.dataset_attribute(name, "dtype") == "bfloat16";
    const auto element = h5::size_of(info.type);
    std::vector<char> bytes(element);
    for (const auto extent : info.shape)
        bytes.resize(bytes.size() * static_cast<std::size_t>(extent));
    root.read_raw(name, bytes.data(), bytes.size());
    out << "# " << name << ' ' << (is_bfloat16 ? "bfloat16" : h5::to_string(info.type)) << ' '
        << h5::to_string(info.shape) << '\n';
    visit_elements(info.shape, ranges, [&](std::int64_t index, bool last_in_row) {
        out << format(bytes.data() + index * static_cast<std::int64_t>(element), info.type, is_bfloat16)
            << (last_in_row ? '\n' : ' ');
    });
}

} // namespace lava
