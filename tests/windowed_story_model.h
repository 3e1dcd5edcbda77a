#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>

namespace lava::testing {

inline const std::filesystem::path story_model = LAVA_SOURCE_DIR "/models/stories260K";

/// Makes `folder` the small model with a sliding window in every other layer, from the first one on.
inline void make_windowed_story_model(const std::filesystem::path& folder, std::int64_t window)
{
    std::filesystem::copy(story_model, folder, std::filesystem::copy_options::recursive);
    auto config = nlohmann::json::parse(std::ifstream(story_model / "config.json"));
    const std::string slides = "sliding_attention", sees_all = "full_attention";
    config.update({{"model_type", "smollm3"}, {"architectures", {"SmolLM3ForCausalLM"}}, // a Llama with such layers
        {"no_rope_layers", {1, 1, 1, 1, 1}}, {"use_sliding_window", true}, {"sliding_window", window},
        {"layer_types", {slides, sees_all, slides, sees_all, slides}}});
    std::ofstream(folder / "config.json") << config;
}

} // namespace lava::testing
