#!/usr/bin/env bash
# transformers 5.2.0 and 5.24.0: AutoTokenizer makes a tokenizer for a folder that holds a config.json and no tokenizer file at
# all, with special tokens as its only vocabulary: Qwen 2's gives no ids for any text. For a Llama 5.2.0 makes a
# CodeLlamaTokenizer of 8 tokens, 5.24.0 raises ValueError. Seen (class, size, ids of "Hello"):
#   5.2.0  qwen2 Qwen2Tokenizer 1 [], llama CodeLlamaTokenizer 8 [1, 0]
#   5.24.0 qwen2 Qwen2Tokenizer 1 [], llama ValueError
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

print(transformers.__version__, end="")
for family in ("qwen2", "llama"):
    json.dump({"model_type": family}, open(sys.argv[1] + "/config.json", "w"))
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
        print("", family, type(tokenizer).__name__, len(tokenizer), tokenizer("Hello").input_ids, end="")
    except Exception as error:
        print("", family, type(error).__name__, end="")
print()
END
}
seen=$(try 5.2.0 0.22.2; try 5.24.0 0.23.3)
echo "$seen"
[ "$seen" = "5.2.0 qwen2 Qwen2Tokenizer 1 [] llama CodeLlamaTokenizer 8 [1, 0]
5.24.0 qwen2 Qwen2Tokenizer 1 [] llama ValueError" ]
