// The number types of our files, and the words for those that are not.

#include "base/hdf5/h5_handles.h"
#include "base/text.h"

#include "base/formatted.h"

namespace lava::h5 {

namespace {

Handle half_type()
{
    Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    H5Tset_fields(type, 15, 10, 5, 0, 10); // sign, exponent and mantissa of IEEE binary16, as h5py looks for them
    H5Tset_size(type, 2);
    H5Tset_ebias(type, 15);
    return type;
}

Handle bfloat16_type()
{
    Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    H5Tset_fields(type, 15, 7, 8, 0, 7); // the upper half of IEEE binary32
    H5Tset_size(type, 2);
    H5Tset_ebias(type, 127);
    return type;
}

} // namespace

Handle make_type(Type type)
{
    switch (type) {
    case Type::u8:
        return {H5Tcopy(H5T_STD_U8LE), H5Tclose};
    case Type::u16:
        return {H5Tcopy(H5T_STD_U16LE), H5Tclose};
    case Type::u32:
        return {H5Tcopy(H5T_STD_U32LE), H5Tclose};
    case Type::i32:
        return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case Type::i64:
        return {H5Tcopy(H5T_STD_I64LE), H5Tclose};
    case Type::f16:
        return half_type();
    case Type::f32:
        return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case Type::f64:
        return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case Type::bf16:
        return bfloat16_type();
    }
    throw std::logic_error("h5: unknown type");
}

std::string describe_type(hid_t type)
{
    const auto bits = formatted("{} bits{}", 8 * H5Tget_size(type),
        H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? ", big endian" : "");
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        return (H5Tget_sign(type) == H5T_SGN_NONE ? "unsigned integers of " : "signed integers of ") + bits;
    case H5T_FLOAT:
        return "floating-point numbers of " + bits;
    case H5T_STRING:
        return "strings";
    case H5T_COMPOUND:
        return "a compound type";
    case H5T_ENUM:
        return "an enumeration";
    case H5T_OPAQUE:
        return "opaque bytes";
    case H5T_REFERENCE:
        return "references";
    case H5T_ARRAY:
    case H5T_VLEN:
        return "arrays as elements";
    default:
        return "values that are no plain numbers";
    }
}

std::string wanted_type(hid_t type)
{
    const auto kind = H5Tget_class(type);
    if ((kind == H5T_INTEGER || kind == H5T_FLOAT) && H5Tget_order(type) == H5T_ORDER_BE)
        return "little-endian numbers";
    return "uint8, uint16, uint32, int32, int64, float16, bfloat16, float32 or float64";
}

std::size_t size_of(Type type)
{
    switch (type) {
    case Type::u8:
        return 1;
    case Type::u16:
    case Type::f16:
    case Type::bf16:
        return 2;
    case Type::u32:
    case Type::i32:
    case Type::f32:
        return 4;
    case Type::i64:
    case Type::f64:
        return 8;
    }
    throw std::logic_error("h5: unknown type");
}

std::string to_string(Type type)
{
    constexpr const char* names[]
        = {"uint8", "uint16", "uint32", "int32", "int64", "float16", "float32", "float64", "bfloat16"};
    return names[static_cast<std::size_t>(type)];
}

std::string to_string(std::span<const std::int64_t> shape)
{
    return shape_text(shape);
}

} // namespace lava::h5
