#include "base/unpacked_file.h"

#include "base/error.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace lava {
namespace {

using testing::ThrowsMessage;

class Unpacked : public testing::Test
{
protected:
    std::filesystem::path pack(const std::string& text) const
    {
        const gzFile stream = gzopen((folder_ / "packed.gz").c_str(), "wb");
        gzwrite(stream, text.data(), static_cast<unsigned>(text.size()));
        gzclose(stream);
        return folder_ / "packed.gz";
    }
    std::filesystem::path write(const std::string& text) const
    {
        std::ofstream(folder_ / "plain", std::ios::binary) << text;
        return folder_ / "plain";
    }
    void expect_refusal(const std::filesystem::path& file, const std::string& fault) const
    {
        EXPECT_THAT([&] { UnpackedFile(file).rest(); }, ThrowsMessage<Error>(file.string() + ": " + fault));
    }

    TemporaryFolder folder_;
};

TEST_F(Unpacked, GivesItsLinesAndTheRest)
{
    const std::string long_line(200'000, 'x'); // more than is read at once
    const std::string text = "a\n\n" + long_line + "\nend\nof it";
    for (const auto& file : {pack(text), write(text)}) {
        UnpackedFile lines(file);
        EXPECT_EQ(lines.next_line(), "a");
        EXPECT_EQ(lines.next_line(), "");
        EXPECT_EQ(lines.next_line(), long_line);
        EXPECT_EQ(lines.next_line(), "end");
        EXPECT_EQ(lines.next_line(), "of it");
        EXPECT_EQ(lines.next_line(), std::nullopt);
        UnpackedFile again(file);
        again.next_line();
        EXPECT_EQ(again.rest(), text.substr(2));
        EXPECT_EQ(again.rest(), "");
        EXPECT_EQ(UnpackedFile(file).rest(), text);
    }
    EXPECT_EQ(UnpackedFile(write("")).next_line(), std::nullopt);
    EXPECT_EQ(UnpackedFile(pack("a\n")).rest(), "a\n");
}

TEST_F(Unpacked, SaysWhatIsWrong)
{
    expect_refusal(folder_.path(), "expected a file, found a folder");
    expect_refusal(folder_ / "none", "cannot be opened: No such file or directory");
    const auto file = pack("once upon a time");
    std::string bytes = file_bytes(file);
    std::ofstream(file, std::ios::binary) << bytes.substr(0, bytes.size() - 9);
    expect_refusal(file, "cannot be read: the gzipped file ends early");
    bytes[bytes.size() - 6] ^= 1; // of the checksum
    std::ofstream(file, std::ios::binary) << bytes;
    expect_refusal(file, "cannot be read: the gzipped file is damaged");
}

} // namespace
} // namespace lava
