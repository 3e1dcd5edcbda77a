#!/usr/bin/env bash
# transformers 5.2.0, EXAONE 4: a full-attention layer's module has the attribute sliding_window = 8 like the others; only
# the argument that its attention function receives says None. A function for AttentionInterface that asks the module
# takes the wrong window. Seen (layer type, module.sliding_window, argument sliding_window):
#   sliding_attention 8 8 (three layers), full_attention 8 None
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.11.0 transformers==5.2.0
seen=$("$work/venv/bin/python" - 2>/dev/null <<'END'
import torch
from transformers import AttentionInterface, Exaone4Config
from transformers.models.exaone4 import modeling_exaone4 as exaone4

config = Exaone4Config(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=4, sliding_window=8,
                       sliding_window_pattern=4, vocab_size=50, intermediate_size=32)
model = exaone4.Exaone4ForCausalLM(config)

def probe(module, query, key, value, mask, scaling=None, dropout=0.0, **named):
    print(config.layer_types[module.layer_idx], module.sliding_window, named["sliding_window"])
    return exaone4.eager_attention_forward(module, query, key, value, mask, scaling=scaling, dropout=dropout)

AttentionInterface.register("probe", probe)
model.set_attn_implementation("probe")
model(torch.arange(20)[None])
END
)
echo "$seen"
[ "$seen" = "sliding_attention 8 8
sliding_attention 8 8
sliding_attention 8 8
full_attention 8 None" ]
