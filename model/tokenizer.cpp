#include "model/tokenizer.h"

#include "base/error.h"
#include "model/tokenizers/json_tokenizer.h"
#include "model/tokenizers/json_view.h"
#include "model/tokenizers/llama2c.h"
#include "model/tokenizers/sentencepiece_tokenizer.h"
#include "model/tokenizers/vocab_merges.h"

namespace lava {

std::unique_ptr<Tokenizer> read_tokenizer(const std::filesystem::path& model_folder)
{
    if (std::filesystem::exists(model_folder / "tokenizer.json")) {
        const std::filesystem::path file = model_folder / "tokenizer.json";
        return make_json_tokenizer(model_folder, file, read_json(file));
    }
    if (std::filesystem::exists(model_folder / "vocab.json") && std::filesystem::exists(model_folder / "merges.txt")) {
        return make_json_tokenizer(model_folder, model_folder / "vocab.json", read_vocab_and_merges(model_folder));
    }
    if (std::filesystem::exists(model_folder / "tokenizer.model")) {
        return read_sentencepiece_tokenizer(model_folder);
    }
    if (std::filesystem::exists(model_folder / "tokenizer.bin")) {
        return read_llama2c_tokenizer(model_folder / "tokenizer.bin");
    }
    throw Error(model_folder.string()
        + ": no tokenizer: expected tokenizer.json, vocab.json with merges.txt, tokenizer.model (SentencePiece) or "
          "tokenizer.bin (llama2.c); token ids work without");
}

} // namespace lava
