#include "base/hdf5/h5.h"

#include "tests/base/raw_h5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

namespace lava::test {

namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

std::vector<float> ramp(std::size_t count)
{
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), 0.5F);
    return values;
}

TEST(H5, WritesWhatPlainHdf5CallsRead)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    {
        const auto root = h5::Group::create_file(file);
        const auto group = root.create_group("a").create_group("b");
        group.write("flat", {2, 3}, ramp(6));
        group.write("deflated", {50, 70, 100}, ramp(350000), {.deflate = 4});
        group.set_attribute("text", "h\xc3\xa9");
        group.set_attribute("count", std::int64_t(1) << 40);
        root.flush();
    }
    const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    EXPECT_EQ(raw_read_floats(id, "/a/b/flat"), ramp(6));
    EXPECT_EQ(raw_read_floats(id, "/a/b/deflated"), ramp(350000));
    EXPECT_EQ(raw_shape(id, "/a/b/deflated"), (std::vector<hsize_t>{50, 70, 100}));
    EXPECT_EQ(raw_read_string(id, "/a/b", "text"), "h\xc3\xa9");
    EXPECT_EQ(raw_read_int(id, "/a/b", "count"), std::int64_t(1) << 40);
    H5Fclose(id);
    EXPECT_LT(std::filesystem::file_size(file), 350000 * sizeof(float)); // the deflated one is smaller
}

TEST(H5, HalfIsIeeeBinary16)
{
    const TemporaryFolder folder;
    const std::uint16_t bits[] = {0x3c00, 0xc000, 0x7bff, 0x0001}; // 1, -2, the largest, the smallest subnormal
    {
        const auto root = h5::Group::create_file(folder / "x.h5");
        const std::int64_t shape[] = {4};
        root.write_raw("half", h5::Type::f16, shape, bits);
    }
    const hid_t id = H5Fopen((folder / "x.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    EXPECT_THAT(raw_read_floats(id, "/half"), ElementsAre(1, -2, 65504, 0x1p-24F)); // converted by HDF5 itself
    H5Fclose(id);
}

TEST(H5, TheSameInputGivesTheSameBytes)
{
    const TemporaryFolder folder;
    for (const auto* name : {"a.h5", "b.h5"}) {
        const auto root = h5::Group::create_file(folder / name);
        root.create_group("g").write("x", {1000}, ramp(1000), {.deflate = 1});
        root.set_attribute("s", "text");
        root.write("y", {10}, ramp(10));
    }
    EXPECT_EQ(file_bytes(folder / "a.h5"), file_bytes(folder / "b.h5"));
}

TEST(H5, ReadsFixedAndVariableStringsAndSmallIntegers)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    const hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t fixed = H5Tcopy(H5T_C_S1);
    H5Tset_size(fixed, 8);
    const hid_t text = H5Acreate2(id, "fixed", fixed, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(text, fixed, "short\0\0\0");
    const hid_t number = H5Acreate2(id, "small", H5T_STD_I16BE, space, H5P_DEFAULT, H5P_DEFAULT);
    const int seven = 7;
    H5Awrite(number, H5T_NATIVE_INT, &seven);
    for (const auto close : {text, number})
        H5Aclose(close);
    H5Tclose(fixed);
    H5Sclose(space);
    raw_attribute(id, "/", "variable", "");
    H5Fclose(id);
    const auto root = h5::Group::open_file(file);
    EXPECT_EQ(root.string_attribute("fixed"), "short");
    EXPECT_EQ(root.string_attribute("variable"), "");
    EXPECT_EQ(root.int_attribute("small"), 7);
    EXPECT_EQ(root.float_attribute("small"), 7.0);
    EXPECT_THAT(error_of([&] { (void)root.int_attribute("fixed"); }),
        EndsWith("/: attribute fixed: expected an integer, found a string"));
}

TEST(H5, ErrorsNameFileAndDatasetExpectedAndFound)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    {
        const auto root = h5::Group::create_file(file);
        root.create_group("a").write("x", {2, 3}, ramp(6));
        root.link_external("away", "other.h5", "/x");
    }
    const auto root = h5::Group::open_file(file);
    const auto name = file.string();
    EXPECT_EQ(error_of([&] {
        (void)root.group("a").read<float>("x", {2, 4});
    }),
        name + ": /a/x: expected [2, 4], found [2, 3]");
    EXPECT_EQ(error_of([&] {
        (void)root.group("a").read<double>("x", {2, 3});
    }),
        name + ": /a/x: expected float64, found float32");
    EXPECT_EQ(error_of([&] { (void)root.info("a"); }), name + ": /a: expected a dataset, found a group");
    EXPECT_EQ(error_of([&] { (void)root.group("b"); }), name + ": /b: missing, expected a group");
    EXPECT_EQ(error_of([&] { (void)root.info("away"); }),
        name
            + ": /away: expected it in the file itself, found a link to /x of other.h5: only w_o and b_o of a layer "
              "may "
              "be links, to the same place in a weights file");
    EXPECT_EQ(root.names(), (std::vector<std::string>{"a", "away"}));
    EXPECT_TRUE(root.has("away"));
    EXPECT_TRUE(root.has("a/x"));
    EXPECT_FALSE(root.has("b/x"));
}

TEST(H5, ThreadsDeflateToTheSameBytesAndEndInPartsOfChunks)
{
    const TemporaryFolder folder;
    const std::vector<std::int64_t> shape{5, 701, 503}; // a part of a layer fills a chunk, the rest half of one
    const auto values = ramp(5 * 701 * 503);
    const auto bytes_of = [&](int threads) {
        const auto file = folder / "x.h5";
        std::vector<std::int64_t> done;
        h5::Group::create_file(file).write_raw("x", h5::Type::f32, shape, values.data(),
            {.deflate = 1, .threads = threads}, [&](std::int64_t index) { done.push_back(index); });
        EXPECT_EQ(done, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
        EXPECT_EQ(h5::Group::open_file(file).read<float>("x", shape), values);
        std::ifstream in(file, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    const auto one = bytes_of(1);
    EXPECT_EQ(one, bytes_of(3));
    EXPECT_EQ(one, bytes_of(64)); // more than there are chunks
}

TEST(H5, ARefusedDeflateBombIsNotAllocated)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    const hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t shape[] = {1000000, 1000000};
    const hsize_t chunk[] = {1000, 1000};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 2, chunk);
    H5Pset_deflate(properties, 9);
    H5Dclose(H5Dcreate2(id, "bomb", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
    H5Pclose(properties);
    H5Sclose(space);
    H5Fclose(id);
    EXPECT_THAT(error_of([&] { (void)h5::Group::open_file(file).info("bomb"); }),
        HasSubstr("/bomb: shape [1000000, 1000000] of float32 cannot be: 0 bytes are stored in a file of "));
}

TEST(H5, ADamagedChunkIsAnErrorThatNamesTheDataset)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    {
        const auto root = h5::Group::create_file(file);
        root.write("x", {1000}, ramp(1000), {.deflate = 6});
    }
    const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(id, "x", H5P_DEFAULT);
    const hsize_t origin[] = {0};
    std::vector<char> garbage(200, 'x'); // no deflate stream
    EXPECT_GE(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, origin, garbage.size(), garbage.data()), 0);
    H5Dclose(dataset);
    H5Fclose(id);
    EXPECT_THAT(error_of([&] { (void)h5::Group::open_file(file).read<float>("x", {1000}); }),
        HasSubstr("x.h5: /x: cannot be read: "));
}

} // namespace

} // namespace lava::test
