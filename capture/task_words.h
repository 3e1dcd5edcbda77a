#pragma once

#include <array>
#include <string_view>

namespace lava {

// Words that synthetic tasks are made of: common, and most of them a token of their own.

inline constexpr std::array<std::string_view, 32> task_adjectives
    = {"amber", "ancient", "black", "bright", "broken", "copper", "crooked", "empty", "frozen", "gentle", "golden",
        "green", "hidden", "hollow", "iron", "little", "lonely", "narrow", "northern", "orange", "painted", "purple",
        "quiet", "red", "rusty", "silver", "southern", "stone", "tall", "white", "winter", "wooden"};

inline constexpr std::array<std::string_view, 32> task_nouns
    = {"barn", "bridge", "castle", "cellar", "chapel", "chest", "clock", "cottage", "door", "engine", "farm",
        "fountain", "garden", "gate", "harbor", "island", "kitchen", "lantern", "library", "mill", "mirror", "museum",
        "orchard", "palace", "piano", "ship", "shop", "stable", "tower", "tunnel", "vault", "well"};

inline constexpr std::array<std::string_view, 48> task_list_words = {"apple", "arrow", "bread", "brush", "cabin",
    "candle", "carpet", "chain", "cloud", "coffee", "corner", "cotton", "desert", "dinner", "eagle", "farmer",
    "feather", "forest", "glass", "guitar", "hammer", "honey", "island", "jacket", "kettle", "ladder", "lemon",
    "letter", "market", "marble", "meadow", "monkey", "needle", "ocean", "paper", "pepper", "pillow", "planet",
    "pocket", "rabbit", "river", "saddle", "shadow", "spider", "sugar", "ticket", "tiger", "window"};

inline constexpr std::array<std::string_view, 5> task_noise = {"The grass is green and the sky is blue.",
    "The sun is warm and the wind is mild.", "We walk along the road and then we come home.",
    "A bird sings in the tree near the house.", "The day is long and there is nothing to do."};

} // namespace lava
