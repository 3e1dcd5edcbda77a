#!/usr/bin/env bash
# transformers 4.57.6 heeds add_bos_token and add_eos_token of tokenizer_config.json for Llama's tokenizer with a
# tokenizer.json beside it; transformers 5.2.0 ignores both without a message: the same folder gives other ids. Seen:
#   4.57.6 {} [1, 3]  {add_bos_token: false} [3]  {add_eos_token: true} [1, 3, 2]
#   5.2.0  {} [1, 3]  {add_bos_token: false} [1, 3]  {add_eos_token: true} [1, 3]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "transformers==$1" "tokenizers==0.22.2"
    "$work/$1/bin/python" - "$work" 2>/dev/null <<'END'
import json
import sys
import transformers
from tokenizers import Tokenizer, models, processors

folder = sys.argv[1]
tokenizer = Tokenizer(models.BPE(vocab={"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, merges=[], unk_token="<unk>"))
tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
tokenizer.save(folder + "/tokenizer.json")
json.dump({"model_type": "llama"}, open(folder + "/config.json", "w"))
names = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
seen = []
for flags in ({}, {"add_bos_token": False}, {"add_eos_token": True}):
    json.dump({**names, **flags}, open(folder + "/tokenizer_config.json", "w"))
    seen.append(transformers.AutoTokenizer.from_pretrained(folder)("a").input_ids)
print(transformers.__version__, *seen)
END
}
seen=$(try 4.57.6; try 5.2.0)
echo "$seen"
[ "$seen" = "4.57.6 [1, 3] [3] [1, 3, 2]
5.2.0 [1, 3] [1, 3] [1, 3]" ]
