#!/usr/bin/env bash
# transformers 5.2.0 and 5.24.0: the cache of a sliding-window layer holds window - 1 entries, and get_seq_length() of the same
# layer says all tokens ever seen: as a size of what is held, or as an index into it, that number is wrong. Seen, for a Mistral
# with a window of 8, after 20 tokens: 7 entries, get_seq_length() 20
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
try() {
    "$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.11.0 "transformers==$1"
    "$work/venv/bin/python" - 2>/dev/null <<'END'
import torch
import transformers

model = transformers.MistralForCausalLM(transformers.MistralConfig(
    hidden_size=32, num_attention_heads=2, num_key_value_heads=2, num_hidden_layers=1, intermediate_size=32, vocab_size=50,
    sliding_window=8))
cache = model(torch.arange(20)[None], use_cache=True).past_key_values
print(transformers.__version__, type(cache).__name__, cache.layers[0].keys.shape[2], cache.get_seq_length(0))
END
}
seen=$(try 5.2.0; try 5.24.0)
echo "$seen"
[ "$seen" = "5.2.0 DynamicCache 7 20
5.24.0 DynamicCache 7 20" ]
