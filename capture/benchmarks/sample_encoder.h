#pragma once

#include "base/error.h"
#include "capture/benchmarks/sample.h"
#include "model/official_decoder.h"
#include "traces/trace_info.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lava {

struct EncodedSample
{
    std::vector<std::int64_t> ids; ///< what the model reads
    std::vector<Span> spans; ///< in tokens: context, question, needle, answer; each further one is numbered from _2 on
    bool chat = false; ///< whether the chat template was applied
    std::int64_t uncut_tokens = 0; ///< of the prompt before it was cut, without the chat template; 0: it was not
};

/// A prompt does not fit, and its benchmark does not say how to cut it.
class TooLong : public Error
{
public:
    using Error::Error;
};

/// Token ids of samples, as the benchmarks' own code gets them.
class SampleEncoder
{
public:
    /// `decoder` must outlive this. `context_length`: of the model; nothing where it is not known.
    SampleEncoder(const OfficialDecoder& decoder, const std::filesystem::path& model_folder,
        std::optional<std::int64_t> max_length, std::optional<std::int64_t> context_length);

    /// Throws TooLong naming file and line.
    EncodedSample encode(const Sample& sample) const;

private:
    EncodedSample encode_text(const Sample& sample) const;
    EncodedSample encode_for_kvpress(const Sample& sample) const;
    std::pair<std::string, std::string> around_question(
        const std::string& context, const std::string& mark, bool chat) const;
    TextRange in_chat(
        const Sample& sample, const std::string& text, const std::string& rendered, const TextRange& range) const;
    void check_length(const Sample& sample, const EncodedSample& encoded) const;

    const OfficialDecoder& decoder_;
    std::string bos_; ///< text of the token that begins every text; empty: none
    bool template_asks_for_thinking_ = false; ///< kvpress turns it off, which is not supported
    std::optional<std::int64_t> max_length_, context_length_;
};

} // namespace lava
