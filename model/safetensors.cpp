#include "model/safetensors.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

namespace lava {

namespace {

using nlohmann::json;

constexpr std::uint64_t largest_header = 100'000'000; // the format's own limit

struct Dtype
{
    std::string_view name;
    std::uint64_t bits; ///< of an element; elements of less than a byte are packed
};
constexpr auto dtypes = std::to_array<Dtype>(
    {{"F64", 64}, {"F32", 32}, {"F16", 16}, {"BF16", 16}, {"I64", 64}, {"I32", 32}, {"I16", 16}, {"I8", 8}, {"U64", 64},
        {"U32", 32}, {"U16", 16}, {"U8", 8}, {"BOOL", 8}, {"C64", 64}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
        {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}});

[[noreturn]] void fail(std::string_view file, const std::string& message)
{
    throw Error(std::string(file) + ": " + message);
}

std::uint64_t read_header_length(std::span<const std::byte> file, std::string_view name)
{
    static_assert(std::endian::native == std::endian::little, "safetensors files are read as they lie in memory");
    std::uint64_t length = 0;
    if (file.size() < sizeof length)
        fail(name, formatted("expected a safetensors file, found only {} bytes", file.size()));
    std::memcpy(&length, file.data(), sizeof length);
    if (length > largest_header || length > file.size() - sizeof length)
        fail(name,
            formatted("not a safetensors file, or a truncated one: its header claims {} bytes, the file has {}", length,
                file.size()));
    return length;
}

json parse_header(std::string_view text, std::string_view file)
{
    std::set<std::string> names;
    const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
        if (event == json::parse_event_t::key && depth == 1 && !names.insert(parsed.get<std::string>()).second)
            fail(file, "tensor " + parsed.get<std::string>() + " appears twice in the header");
        return true;
    };
    refuse_deep_json(text, std::string(file) + ": the safetensors header");
    try {
        json header = json::parse(text, check);
        if (header.is_object())
            return header;
    } catch (const json::exception&) {
        fail(file, "the safetensors header is not JSON");
    }
    fail(file, "the safetensors header is not a JSON object");
}

std::uint64_t bits_per_element(const std::string& dtype, const std::string& where, std::string_view file)
{
    const auto* found = std::ranges::find(dtypes, dtype, &Dtype::name);
    if (found == dtypes.end())
        fail(file, where + "unknown dtype " + dtype);
    return found->bits;
}

/// A list of non-negative integers, or an Error.
std::vector<std::int64_t> read_integers(
    const json& entry, const char* key, const std::string& where, std::string_view file)
{
    const auto found = entry.find(key);
    if (found == entry.end() || !found->is_array())
        fail(file, where + "expected a list " + key + ", found " + (found == entry.end() ? "none" : found->dump()));
    std::vector<std::int64_t> values;
    for (const json& value : *found) {
        if (!value.is_number_unsigned() || value > std::numeric_limits<std::int64_t>::max())
            fail(file, where + key + ": expected non-negative integers, found " + found->dump());
        values.push_back(value.get<std::int64_t>());
    }
    return values;
}

/// Bytes that `shape` takes, or an Error where that is no sensible number.
std::uint64_t shape_bytes(
    const std::vector<std::int64_t>& shape, std::uint64_t element_bits, const std::string& where, std::string_view file)
{
    std::uint64_t bits = element_bits;
    for (const std::int64_t size : shape)
        if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(size), &bits))
            fail(file, where + "its shape does not fit into 64 bits");
    if (bits % 8 != 0)
        fail(file, where + "expected elements that fill whole bytes, found " + std::to_string(bits) + " bits");
    return bits / 8;
}

StoredTensor read_entry(
    const std::string& name, const json& entry, std::span<const std::byte> data, std::string_view file)
{
    const std::string where = "tensor " + name + ": ";
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string())
        fail(file, where + "expected {dtype, shape, data_offsets}, found " + entry.dump());
    StoredTensor tensor{entry["dtype"].get<std::string>(), read_integers(entry, "shape", where, file), {}};
    const auto offsets = read_integers(entry, "data_offsets", where, file);
    const auto expected = shape_bytes(tensor.shape, bits_per_element(tensor.dtype, where, file), where, file);
    if (offsets.size() != 2 || offsets[0] > offsets[1])
        fail(file, where + "data_offsets: expected [begin, end], found " + entry["data_offsets"].dump());
    const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
    if (end > data.size())
        fail(file, formatted("{}ends at byte {} of the data, but the file holds {}", where, end, data.size()));
    if (end - begin != expected)
        fail(file,
            formatted("{}expected {} bytes for {} {}, found {}", where, expected, tensor.dtype, entry["shape"].dump(),
                end - begin));
    tensor.bytes = data.subspan(begin, end - begin);
    return tensor;
}

/// The format wants every byte of the data to belong to exactly one tensor.
void check_coverage(
    const std::map<std::string, StoredTensor>& tensors, std::span<const std::byte> data, std::string_view file)
{
    struct Range
    {
        std::size_t begin, end;
        const std::string* name;
    };
    std::vector<Range> ranges;
    for (const auto& [name, tensor] : tensors) {
        const auto begin = static_cast<std::size_t>(tensor.bytes.data() - data.data());
        ranges.push_back({begin, begin + tensor.bytes.size(), &name});
    }
    std::ranges::sort(ranges, {}, [](const Range& range) { return std::pair(range.begin, range.end); });
    std::size_t covered = 0;
    for (const Range& range : ranges) {
        if (range.begin != covered)
            fail(file,
                formatted("tensor {}: begins at byte {}, which {}; expected {}", *range.name, range.begin,
                    range.begin < covered ? "overlaps another tensor" : "leaves a gap", covered));
        covered = range.end;
    }
    if (covered != data.size())
        fail(file, formatted("expected {} bytes of data, found {}", covered, data.size()));
}

} // namespace

std::map<std::string, StoredTensor> read_safetensors(std::span<const std::byte> file, std::string_view name)
{
    const std::uint64_t length = read_header_length(file, name);
    const auto text = file.subspan(sizeof length, length);
    const auto data = file.subspan(sizeof length + length);
    const json header = parse_header({reinterpret_cast<const char*>(text.data()), text.size()}, name);

    std::map<std::string, StoredTensor> tensors;
    for (const auto& [key, entry] : header.items())
        if (key != "__metadata__")
            tensors.emplace(key, read_entry(key, entry, data, name));
    check_coverage(tensors, data, name);
    return tensors;
}

} // namespace lava
