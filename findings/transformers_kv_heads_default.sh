#!/usr/bin/env bash
# transformers 5.2.0: where num_key_value_heads is absent, Llama and Phi 3 take the number of query heads, but other config
# classes a fixed number, also one that is larger than the query heads (4 here): no message comes. Seen:
#   Llama 4  Phi3 4  Qwen2 32  Qwen3 32  Exaone4 32  StableLm 32  Mistral 8  Starcoder2 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install transformers==5.2.0
seen=$("$work/venv/bin/python" - 2>/dev/null <<'END'
import transformers

for family in "Llama Phi3 Qwen2 Qwen3 Exaone4 StableLm Mistral Starcoder2".split():
    config = getattr(transformers, family + "Config")(hidden_size=64, num_attention_heads=4)
    print(family, config.num_key_value_heads, end=" ")
END
)
echo "$seen"
[ "$seen" = "Llama 4 Phi3 4 Qwen2 32 Qwen3 32 Exaone4 32 StableLm 32 Mistral 8 Starcoder2 2 " ]
