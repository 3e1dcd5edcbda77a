#include "base/error.h"
#include "model/chat_template.h"

/// A chat template in Jinja, applied to a conversation.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    try {
        const std::string_view jinja(reinterpret_cast<const char*>(data), size);
        const lava::ChatTemplate chat_template(jinja, "template", {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
        chat_template.apply(
            {{"system", "Be kind."}, {"user", "Hällo"}, {"assistant", "<think>x</think>y"}, {"user", "?"}});
    } catch (const lava::Error&) { // a refusal is an answer
    }
    return 0;
}
