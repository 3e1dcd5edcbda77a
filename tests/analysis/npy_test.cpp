#include "analysis/npy.h"

#include "base/error.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>

#include <fstream>

namespace lava {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class Npy : public ::testing::Test
{
protected:
    // A file as numpy writes it: magic, version 1.0, header padded to 64 bytes, numbers.
    void write(const std::string& dictionary, const std::string& numbers) const
    {
        std::string header = dictionary;
        header += std::string(117 - header.size(), ' ') + '\n';
        std::ofstream(file_, std::ios::binary) << "\x93NUMPY\1" << '\0' << 'v' << '\0' << header << numbers;
    }

    TemporaryFolder folder_;
    std::filesystem::path file_ = folder_ / "array.npy";
};

TEST_F(Npy, ReadsWhatItWrites)
{
    write_npy(file_, {{2, 1, 3}, {0.5, -1, 0.25, 3, 4, 1e-3}});
    const auto array = read_npy(file_);
    EXPECT_THAT(array.shape, ElementsAre(2, 1, 3));
    EXPECT_THAT(array.values, ElementsAre(0.5, -1, 0.25, 3, 4, 1e-3F));
    EXPECT_EQ(std::filesystem::file_size(file_) % 64, 24); // the header fills whole lines of 64 bytes
}

TEST_F(Npy, WritesTheHeaderThatNumpyReads)
{
    write_npy(file_, {{3}, {1, 2, 3}});
    std::ifstream in(file_, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\1\0", 8));
    EXPECT_EQ(bytes.substr(10, 55), "{'descr': '<f4', 'fortran_order': False, 'shape': (3,),");
    EXPECT_EQ(bytes.size(), 10U + static_cast<unsigned char>(bytes[8]) + 12U);
    EXPECT_EQ(bytes[bytes.size() - 13], '\n');
}

TEST_F(Npy, ReadsHalvesAndDoubles)
{
    write("{'descr': '<f2', 'fortran_order': False, 'shape': (4,), }",
        std::string("\x00\x3c\x00\xc0\x01\x00\x55\x35", 8));
    EXPECT_THAT(read_npy(file_).values, ElementsAre(1, -2, 0x1p-24, 0x1.554p-2));
    write("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", std::string("\0\0\0\0\0\0\xf0\x3f", 8));
    EXPECT_THAT(read_npy(file_).values, ElementsAre(1));
    EXPECT_TRUE(read_npy(file_).shape.empty());
}

TEST_F(Npy, RefusesOtherFiles)
{
    const auto refused = [this](const std::string& message) {
        EXPECT_THAT([this] { read_npy(file_); }, ThrowsMessage<Error>(HasSubstr(message)));
    };
    refused("cannot be read");
    std::ofstream(file_) << "hello";
    refused("expected a NumPy array (.npy), found another file");
    write("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", "1234");
    refused("expected numbers of type '<f2', '<f4' or '<f8', found '<i4'");
    write("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "1234");
    refused("found one in Fortran order");
    write("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "1234");
    refused("expected 2 numbers of 4 bytes, found 4 bytes");
    write("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999, 99999999), }", "1234");
    refused("found 4 bytes");
    write("{'descr': '<f4', 'fortran_order': False, 'shape': (x), }", "1234");
    refused("expected a shape in the header");
}

} // namespace
} // namespace lava
