#!/usr/bin/env bash
# transformers 5.2.0 and 5.24.0: where tokenizer_config.json names GPT2Tokenizer, Qwen2Tokenizer or GemmaTokenizer, only vocabulary
# and merges of tokenizer.json are read; the class's own splitting (for Gemma its normaliser too) replaces the file's, without a
# message. 5.2.0 does so where the class is the one of config.json's model_type, 5.24.0 for other model types too: a Llama with
# GPT2Tokenizer and a file that splits digits (as SmolLM2 has) gets other ids by an update. 4.57.6 heeds the file. Seen, for "12":
#   class, model_type, the file's splitting:  GPT2 llama digits    GPT2 gpt2 digits    Qwen2 qwen2 none
#   the file's own ids (tokenizers)           [1, 2]               [1, 2]              [3]
#   transformers 4.57.6                       [1, 2]               [1, 2]              [3]
#   transformers 5.2.0                        [1, 2]               [3]                 [1, 2]
#   transformers 5.24.0                       [3]                  [3]                 [1, 2]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "transformers==$1" "tokenizers==$2"
    "$work/$1/bin/python" - "$work" 2>/dev/null <<'END'
import json
import sys
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

folder = sys.argv[1]
vocab = {"<|endoftext|>": 0, "1": 1, "2": 2, "12": 3}
tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("1", "2")]))
tokenizer.add_special_tokens(["<|endoftext|>"])
print(transformers.__version__, end="")
for name, model, digits in (("GPT2", "llama", True), ("GPT2", "gpt2", True), ("Qwen2", "qwen2", False)):
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_alone]) if digits else bytes_alone
    tokenizer.save(folder + "/tokenizer.json")
    json.dump({"model_type": model}, open(folder + "/config.json", "w"))
    json.dump({"tokenizer_class": name + "Tokenizer"}, open(folder + "/tokenizer_config.json", "w"))
    assert tokenizer.encode("12").ids == ([1, 2] if digits else [3])
    print("", transformers.AutoTokenizer.from_pretrained(folder)("12").input_ids, end="")
print()
END
}
seen=$(try 4.57.6 0.22.2; try 5.2.0 0.22.2; try 5.24.0 0.23.3)
echo "$seen"
[ "$seen" = "4.57.6 [1, 2] [1, 2] [3]
5.2.0 [1, 2] [3] [1, 2]
5.24.0 [3] [3] [1, 2]" ]
