#!/usr/bin/env bash
# transformers 5.2.0, rope_type "dynamic": a prompt within the original context keeps the stretched frequencies of a longer one
# that ran before, so that the same prompt has other logits after it. The buffer that should tell is set under the name
# "None_max_seq_len_cached" (modeling_rope_utils.py). transformers 5.24.0 resets them. Seen, in a model of 64 positions, 32 tokens:
#   5.2.0 after 200 tokens: other logits than before    5.24.0 the same logits
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
try() {
    "$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.11.0 "transformers==$1"
    "$work/venv/bin/python" - 2>/dev/null <<'END'
import torch
import transformers

torch.manual_seed(0)
model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
    hidden_size=32, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32, vocab_size=50, max_position_embeddings=64,
    rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}))
short, long = (torch.arange(n)[None] % 50 for n in (32, 200))
with torch.inference_mode():
    before = model(short).logits
    model(long)
    print(transformers.__version__, "same" if torch.equal(before, model(short).logits) else "other")
END
}
seen=$(try 5.2.0; try 5.24.0)
echo "$seen"
[ "$seen" = "5.2.0 other
5.24.0 same" ]
