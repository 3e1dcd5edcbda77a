// Files that other programs made: links, types, filters and layouts, and the sentence for what is not taken.

#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "traces/trace.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava::test {

namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string refusal_of_foreign(const std::function<void(hid_t)>& edit)
{
    const TemporaryFolder folder;
    raw_trace(folder / "other.h5");
    const auto file = raw_trace(folder / "x.h5", edit);
    const auto message = error_of([&] {
        const Trace trace(file);
        (void)trace.layer(0);
    });
    return message.substr(std::min(message.size(), file.string().size() + 2));
}

void link_away(hid_t id, const char* path, const char* target)
{
    raw_delete(id, path);
    H5Lcreate_external("other.h5", target, id, path, H5P_DEFAULT, H5P_DEFAULT);
}

TEST(ForeignFiles, OnlyTheWeightsMayBeLinks)
{
    const std::string why = ": only w_o and b_o of a layer may be links, to the same place in a weights file";
    EXPECT_EQ(refusal_of_foreign([](hid_t id) { link_away(id, "/layers/00/k", "/layers/00/k"); }),
        "/layers/00/k: expected it in the file itself, found a link to /layers/00/k of other.h5" + why);
    EXPECT_EQ(refusal_of_foreign([](hid_t id) { link_away(id, "/layers/00/w_o", "/layers/01/w_o"); }),
        "h5: attribute format: expected lava-weights, found lava-trace");
    EXPECT_EQ(refusal_of_foreign([](hid_t id) {
        raw_delete(id, "/layers/01/v");
        H5Lcreate_soft("/layers/01/k", id, "/layers/01/v", H5P_DEFAULT, H5P_DEFAULT);
    }),
        "/layers/01/v: expected it in the file itself, found a link to /layers/01/k" + why);
    EXPECT_EQ(refusal_of_foreign([](hid_t id) { link_away(id, "/tokens", "/nowhere"); }),
        "/tokens: expected it in the file itself, found a link to /nowhere of other.h5" + why);
    EXPECT_EQ(refusal_of_foreign([](hid_t id) { link_away(id, "/layers/01", "/layers/00"); }),
        "/layers/01: expected it in the file itself, found a link to /layers/00 of other.h5" + why);
}

TEST(ForeignFiles, TheBfloat16OfHdf5TwoIsRead)
{
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5", [](hid_t id) {
        const hid_t type = H5Tcopy(H5T_IEEE_F32LE); // as H5T_FLOAT_BFLOAT16LE is defined
        H5Tset_fields(type, 15, 7, 8, 0, 7);
        H5Tset_size(type, 2);
        H5Tset_ebias(type, 127);
        std::vector<std::uint16_t> bits(36, 0xbfc0); // -1.5
        bits[35] = 0x7f7f; // the largest
        raw_dataset(id, "/layers/01/v", type, {2, 6, 3}, bits.data());
        H5Tclose(type);
    }));
    EXPECT_EQ(trace.info().store_type, StoreType::bf16);
    const auto v = trace.layer(1).v;
    EXPECT_EQ(v[0][0][0].item<float>(), -1.5F);
    EXPECT_EQ(v[1][5][2].item<float>(), 0x1.FEp127F);
}

TEST(ForeignFiles, WrongTypesAreNamedAsWhatTheyAre)
{
    const std::vector<double> zeros(72, 0.0);
    const auto found = [&](hid_t type) {
        const auto text = refusal_of_foreign([&](hid_t id) {
            raw_dataset(id, "/layers/00/k", type, {2, 6, 3}, zeros.data());
        });
        return text;
    };
    const std::string numbers
        = "/layers/00/k: expected uint8, uint16, uint32, int32, int64, float16, bfloat16, float32 "
          "or float64, found ";
    EXPECT_EQ(found(H5T_STD_I16LE), numbers + "signed integers of 16 bits");
    EXPECT_EQ(found(H5T_STD_I32BE),
        "/layers/00/k: expected little-endian numbers, found signed integers of 32 bits, big endian");
    const hid_t compound = H5Tcreate(H5T_COMPOUND, 8);
    H5Tinsert(compound, "r", 0, H5T_IEEE_F32LE);
    H5Tinsert(compound, "i", 4, H5T_IEEE_F32LE);
    EXPECT_EQ(found(compound), numbers + "a compound type");
    H5Tclose(compound);
    const hid_t opaque = H5Tcreate(H5T_OPAQUE, 2);
    H5Tset_tag(opaque, "bfloat16");
    EXPECT_EQ(found(opaque), numbers + "opaque bytes");
    H5Tclose(opaque);
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, 4);
    EXPECT_EQ(found(text), numbers + "strings");
    H5Tclose(text);
}

TEST(ForeignFiles, AFilterThatIsNotThereIsNamed)
{
    EXPECT_EQ(refusal_of_foreign([](hid_t id) {
        raw_delete(id, "/layers/00/k");
        const hsize_t shape[] = {2, 6, 3};
        const hid_t space = H5Screate_simple(3, shape, nullptr);
        const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_chunk(properties, 3, shape);
        H5Pset_filter(properties, 32000, H5Z_FLAG_OPTIONAL, 0, nullptr); // h5py's lzf
        const hid_t dataset
            = H5Dcreate2(id, "/layers/00/k", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
        const std::vector<float> values(36, 1.0F);
        const hsize_t origin[] = {0, 0, 0};
        H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, origin, 144, values.data());
        H5Dclose(dataset);
        H5Pclose(properties);
        H5Sclose(space);
    }),
        "/layers/00/k: expected HDF5's own filters (deflate, shuffle, fletcher32), found filter 32000");
}

TEST(ForeignFiles, AFileOpenForWritingIsNotCalledDamaged)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    const hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    EXPECT_GE(H5Fstart_swmr_write(id), 0);
    const auto copy = folder / "copy.h5"; // as another process would see it
    std::filesystem::copy_file(file, copy);
    EXPECT_THAT(error_of([&] { Trace trace(copy); }),
        HasSubstr("copy.h5: cannot be opened: another program has it open for writing, or ended without closing it"));
    H5Fclose(id);
}

} // namespace

} // namespace lava::test
