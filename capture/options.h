#pragma once

#include "capture/part.h"
#include "capture/prompts.h"
#include "traces/trace_info.h"

#include <filesystem>
#include <optional>
#include <string>

namespace lava {

/// The command line of lava-capture, checked: what contradicts itself never gets here.
struct CaptureOptions
{
    std::filesystem::path model;
    std::optional<std::string> prompt; ///< exactly one of these five
    std::filesystem::path prompt_file;
    std::filesystem::path ids_file;
    std::filesystem::path prompts_file; ///< many prompts; output is a folder then
    std::filesystem::path haystack_file;
    NeedleRequest needle; ///< with haystack_file; its text is not read yet
    bool chat = false;
    std::string answer_prefix;
    std::filesystem::path spans_file;
    std::int64_t continue_steps = 16;
    std::filesystem::path reference_file;
    std::int64_t window = 64;
    std::int64_t chunk = 4096; ///< prompt tokens that go through a layer at once
    Part part; ///< --layers and --heads
    bool repeat_pass = false;
    int deflate = 0;
    bool resume = false;
    bool dry_run = false;
    std::optional<StoreType> store; ///< none: the run's dtype
    std::string device = "cpu";
    std::string dtype; ///< empty: the decoder's default
    int threads = 0; ///< 0: LibTorch's default, one per core
    bool embed_weights = false;
    bool json = false;
    std::filesystem::path output;
};

/// Throws UsageError naming the options at fault. Nothing where --help or --version was asked for and printed.
std::optional<CaptureOptions> parse_options(int argc, char** argv);

} // namespace lava
