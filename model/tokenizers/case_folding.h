#pragma once

namespace lava {

/// Watches a pattern where case is ignored, character by character. Full case folding makes several characters of one
/// ("ss" of "\u00df"): Oniguruma matches either by the other, PCRE2 does not.
class FoldWatch
{
public:
    /// Whether both libraries match `character` alike, which stands behind the one before, or behind nothing that is
    /// one.
    bool agrees(char32_t character);
    void forget() { before_ = 0; }

    /// Character classes, whose members are asked about one by one; a "-" between two makes a range.
    void begin_class() { first_ = range_ = 0; }
    bool agrees_in_class(char32_t character);

private:
    char32_t before_ = 0; ///< 0: none
    char32_t first_ = 0; ///< of what may become a range
    char32_t range_ = 0; ///< the first of a range that has its "-"
};

} // namespace lava
