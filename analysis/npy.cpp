#include "analysis/npy.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/output_file.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>

namespace lava {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read and written as they lie in the file");

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::size_t alignment = 64; // bytes to which numpy aligns the data

struct Header
{
    std::string text; // a Python dictionary
    std::size_t data = 0; // where the numbers begin
};

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& message)
{
    throw Error(file.string() + ": " + message);
}

std::string read_bytes(const std::filesystem::path& file)
{
    std::ifstream in(file, std::ios::binary);
    if (!in || std::filesystem::is_directory(file)) {
        refuse(file, "cannot be read");
    }
    return {std::istreambuf_iterator<char>(in), {}};
}

Header read_header(const std::filesystem::path& file, const std::string& bytes)
{
    if (bytes.size() < 12 || !bytes.starts_with(magic)) {
        refuse(file, "expected a NumPy array (.npy), found another file");
    }
    const auto major = static_cast<unsigned char>(bytes[6]);
    std::uint32_t length = 0;
    const std::size_t width = major == 1 ? 2 : 4;
    std::memcpy(&length, bytes.data() + 8, width);
    const auto begin = 8 + width;
    if (major < 1 || major > 3 || bytes.size() < begin + length) {
        refuse(file, "expected the header of a NumPy array of version 1 to 3, found a damaged one");
    }
    return {bytes.substr(begin, length), begin + length};
}

// The text behind 'KEY': up to where `end` stands.
std::string field(const std::filesystem::path& file, const std::string& header, const std::string& key, char end)
{
    const auto at = header.find("'" + key + "'");
    const auto colon = header.find(':', at == std::string::npos ? header.size() : at);
    const auto stop = header.find(end, colon == std::string::npos ? header.size() : colon);
    if (stop == std::string::npos) {
        refuse(file, "expected '" + key + "' in the header, found " + header);
    }
    const auto first = header.find_first_not_of(' ', colon + 1);
    return header.substr(first, stop - first);
}

std::vector<std::int64_t> read_shape(const std::filesystem::path& file, const std::string& header)
{
    const auto text = field(file, header, "shape", ')');
    std::vector<std::int64_t> shape;
    const auto* position = text.data() + (text.starts_with('(') ? 1 : 0);
    const auto* const end = text.data() + text.size();
    while (position != end) {
        std::int64_t size = 0;
        const auto [next, error] = std::from_chars(position, end, size);
        if (error != std::errc() || size < 0) {
            refuse(file, "expected a shape in the header, found " + text + ")");
        }
        shape.push_back(size);
        position = next;
        while (position != end && (*position == ',' || *position == ' ')) {
            ++position;
        }
    }
    return shape;
}

double half_to_double(std::uint16_t bits)
{
    const auto exponent = bits >> 10 & 0x1f;
    const auto fraction = bits & 0x3ff;
    const auto size = exponent == 0x1f
        ? (fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity())
        : exponent == 0 ? std::ldexp(fraction, -24)
                        : std::ldexp(fraction + 0x400, exponent - 25);
    return (bits & 0x8000) != 0 ? -size : size;
}

template <typename Stored, typename Convert>
std::vector<double> numbers(const char* data, std::size_t count, Convert convert)
{
    std::vector<double> values;
    values.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        Stored stored;
        std::memcpy(&stored, data + i * sizeof stored, sizeof stored);
        values.push_back(convert(stored));
    }
    return values;
}

} // namespace

NpyArray read_npy(const std::filesystem::path& file)
{
    const auto bytes = read_bytes(file);
    const auto header = read_header(file, bytes);
    const auto type = field(file, header.text, "descr", ',');
    if (!field(file, header.text, "fortran_order", ',').starts_with("False")) {
        refuse(file, "expected an array in C order, found one in Fortran order");
    }
    if (type != "'<f2'" && type != "'<f4'" && type != "'<f8'") {
        refuse(file, "expected numbers of type '<f2', '<f4' or '<f8', found " + type);
    }
    NpyArray array{read_shape(file, header.text), {}};
    const auto size = static_cast<std::size_t>(type[3] - '0');
    std::size_t count = 1;
    for (const auto extent : array.shape) {
        count *= static_cast<std::size_t>(std::min<std::int64_t>(extent, std::numeric_limits<std::int32_t>::max()));
        count = std::min(count, bytes.size() + 1); // more than the file can hold
    }
    if (bytes.size() - header.data != count * size) {
        refuse(file,
            formatted("expected {} numbers of {} bytes, found {} bytes", count, size, bytes.size() - header.data));
    }
    const auto* data = bytes.data() + header.data;
    array.values = size == 2 ? numbers<std::uint16_t>(data, count, half_to_double)
        : size == 4          ? numbers<float>(data, count, [](float x) { return static_cast<double>(x); })
                             : numbers<double>(data, count, [](double x) { return x; });
    return array;
}

void write_npy(const std::filesystem::path& file, const NpyArray& array)
{
    std::string shape;
    for (const auto extent : array.shape) {
        shape += std::to_string(extent) + (array.shape.size() == 1 ? "," : &extent == &array.shape.back() ? "" : ", ");
    }
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
    const auto unpadded = magic.size() + 4 + header.size() + 1;
    header += std::string((alignment - unpadded % alignment) % alignment, ' ') + '\n';
    std::string bytes(magic);
    bytes += {'\1', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
    bytes += header;
    for (const auto value : array.values) {
        const auto stored = static_cast<float>(value);
        bytes.append(reinterpret_cast<const char*>(&stored), sizeof stored);
    }
    write_text_file(file, bytes);
}

} // namespace lava
