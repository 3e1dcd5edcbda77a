#include "model/tokenizer.h"

#include "model/tokenizers/json_tokenizer.h"
#include "model/tokenizers/json_view.h"
#include "model/tokenizers/llama2c.h"
#include "traces/error.h"

namespace lava {

std::unique_ptr<Tokenizer> read_tokenizer(const std::filesystem::path& model_folder)
{
    if (std::filesystem::exists(model_folder / "tokenizer.json")) {
        const std::filesystem::path file = model_folder / "tokenizer.json";
        return make_json_tokenizer(model_folder, file, read_json(file));
    }
    if (std::filesystem::exists(model_folder / "tokenizer.bin")) {
        return read_llama2c_tokenizer(model_folder / "tokenizer.bin");
    }
    throw Error(model_folder.string()
        + ": no tokenizer: expected tokenizer.json (byte-level BPE) or tokenizer.bin (llama2.c); token ids work "
          "without");
}

} // namespace lava
