#pragma once

#include "model/tokenizer.h"
#include "tests/temporary_folder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace lava {

/// Texts of llama.cpp's tokenizer tests: each ends in a line of its own.
inline std::vector<std::string> llama_cpp_texts()
{
    const std::string end = "\n__ggml_vocab_test__\n";
    const std::string all
        = file_bytes(std::filesystem::path(LAVA_SOURCE_DIR) / "tests/data/tokenizer/llama_cpp_tests.txt");
    std::vector<std::string> texts;
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t next = all.find(end, at);
        texts.push_back(all.substr(at, next - at));
        at = next + end.size();
    }
    return texts;
}

/// One line of ids for each text.
inline std::vector<std::vector<std::int64_t>> llama_cpp_ids(const std::filesystem::path& file)
{
    std::istringstream lines(file_bytes(file));
    std::vector<std::vector<std::int64_t>> result;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream numbers(line);
        result.emplace_back(std::istream_iterator<std::int64_t>(numbers), std::istream_iterator<std::int64_t>());
    }
    return result;
}

/// All 46 texts become the ids that llama.cpp has for `model`, and these become the texts again.
inline void expect_llama_cpp_ids(const Tokenizer& tokenizer, const std::string& model)
{
    const std::filesystem::path folder = std::filesystem::path(LAVA_SOURCE_DIR) / "tests/data/tokenizer";
    const std::vector<std::string> texts = llama_cpp_texts();
    const auto expected = llama_cpp_ids(folder / ("llama_cpp_" + model + ".txt"));
    ASSERT_EQ(texts.size(), 46u);
    ASSERT_EQ(expected.size(), 46u);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(tokenizer.encode(texts[i], false).ids, expected[i]) << texts[i];
        EXPECT_EQ(tokenizer.decode(expected[i]), texts[i]);
    }
}

} // namespace lava
