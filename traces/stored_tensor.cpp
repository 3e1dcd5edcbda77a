#include "traces/stored_tensor.h"

#include "base/formatted.h"
#include "traces/layer_datasets.h"

#include <ATen/ATen.h>

#include <limits>
#include <optional>

namespace lava {

namespace {

constexpr std::string_view dtype_attribute = "dtype";

at::ScalarType scalar_type(StoreType type)
{
    return type == StoreType::f32 ? at::kFloat : type == StoreType::f16 ? at::kHalf : at::kBFloat16;
}

h5::Type file_type(StoreType type)
{
    return type == StoreType::f32 ? h5::Type::f32 : type == StoreType::f16 ? h5::Type::f16 : h5::Type::u16;
}

/// NaN and infinity are the numbers whose exponent bits are all set.
template <typename Bits> std::int64_t first_not_finite(const at::Tensor& stored, Bits exponent)
{
    const auto* bits = static_cast<const Bits*>(stored.const_data_ptr());
    const auto count = stored.numel();
    unsigned found = 0;
    for (std::int64_t i = 0; i < count; ++i) // without a branch, so that it vectorises
        found |= (bits[i] & exponent) == exponent;
    if (found == 0)
        return -1;
    std::int64_t index = 0;
    while ((bits[index] & exponent) != exponent)
        ++index;
    return index;
}

std::int64_t first_not_finite(const at::Tensor& stored, StoreType type)
{
    switch (type) {
    case StoreType::f32:
        return first_not_finite<std::uint32_t>(stored, 0x7f800000U);
    case StoreType::f16:
        return first_not_finite<std::uint16_t>(stored, 0x7c00U);
    case StoreType::bf16:
        return first_not_finite<std::uint16_t>(stored, 0x7f80U);
    }
    throw std::logic_error("unknown store type");
}

/// "[3, 17, 5]" of a flat index.
std::string position(std::int64_t flat, at::IntArrayRef extents)
{
    std::vector<std::int64_t> index(extents.size());
    for (auto axis = extents.size(); axis-- > 0;) {
        index[axis] = flat % extents[axis];
        flat /= extents[axis];
    }
    return h5::to_string(index);
}

std::string describe(const at::Scalar& value)
{
    const auto number = value.toDouble();
    return number != number ? "NaN" : number > 0 ? "infinity" : "-infinity";
}

void check_finite(const h5::Group& group, std::string_view name, const at::Tensor& stored, StoreType type)
{
    const auto index = first_not_finite(stored, type);
    if (index >= 0)
        group.fail(name,
            "expected finite numbers, found " + describe(stored.flatten()[index].item()) + " at "
                + position(index, stored.sizes()));
}

std::optional<StoreType> store_type(const h5::Group& group, std::string_view name, h5::Type type)
{
    if (type == h5::Type::f32)
        return StoreType::f32;
    if (type == h5::Type::f16)
        return StoreType::f16;
    if (type == h5::Type::bf16)
        return StoreType::bf16;
    if (type == h5::Type::u16 && group.dataset_attribute(name, dtype_attribute) == to_string(StoreType::bf16))
        return StoreType::bf16;
    return std::nullopt;
}

} // namespace

StoreType check_tensor(const h5::Group& group, std::string_view name, std::span<const std::int64_t> extents)
{
    const auto found = group.info(name);
    const auto type = store_type(group, name, found.type);
    if (!type)
        group.fail(name,
            "expected float32, float16, bfloat16 or uint16 with the attribute dtype = bfloat16, found "
                + h5::to_string(found.type));
    if (!std::equal(found.shape.begin(), found.shape.end(), extents.begin(), extents.end()))
        group.fail(name, "expected " + h5::to_string(extents) + ", found " + h5::to_string(found.shape));
    return *type;
}

at::Tensor read_tensor(const h5::Group& group, std::string_view name, std::span<const std::int64_t> extents)
{
    const auto type = check_tensor(group, name, extents);
    const auto stored = at::empty(at::IntArrayRef(extents.data(), extents.size()), scalar_type(type));
    group.read_raw(name, stored.mutable_data_ptr(), stored.nbytes());
    check_finite(group, name, stored, type);
    return stored.to(at::kFloat);
}

void write_tensor(const h5::Group& group, std::string_view name, const at::Tensor& tensor, StoreType type, int deflate)
{
    const auto stored = tensor.to(at::kCPU).to(scalar_type(type)).contiguous();
    if (const auto index = first_not_finite(stored, type); index >= 0)
        group.fail(name,
            formatted("expected finite numbers that fit {}, found {:f} at {}", to_string(type),
                tensor.flatten()[index].item().toDouble(), position(index, stored.sizes())));
    const auto extents = stored.sizes();
    group.write_raw(
        name, file_type(type), {extents.data(), extents.size()}, stored.const_data_ptr(), {.deflate = deflate});
    if (type == StoreType::bf16)
        group.set_dataset_attribute(name, dtype_attribute, to_string(StoreType::bf16));
}

} // namespace lava
