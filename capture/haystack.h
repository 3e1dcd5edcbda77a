#pragma once

#include "capture/prompts.h"
#include "model/tokenizer.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// The text of a needle prompt and where its parts lie in it.
struct NeedleText
{
    std::string text; ///< haystack with needle, an empty line, question
    ByteRange haystack; ///< with the needle in it
    ByteRange needle;
    ByteRange question;
};

/// Bytes at which a sentence of `text` is over: after ., ! or ? and closing quotes, before white space or the end.
std::vector<std::size_t> sentence_ends(std::string_view text);

/// Collapses the haystack's white space, plants the needle at the sentence boundary nearest to `request.depth` and cuts
/// the haystack at the last sentence end (where there is none, word end) at which the whole prompt has at most
/// `request.tokens` tokens. `count` returns the tokens of the whole prompt for a text. Throws Error where not even one
/// sentence fits.
NeedleText plant_needle(const NeedleRequest& request, const std::function<std::int64_t(std::string_view)>& count);

} // namespace lava
