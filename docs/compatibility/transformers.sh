#!/usr/bin/env bash
# What transformers 5.2.0 and 5.24.0 make of settings that other runtimes read otherwise. Seen (both versions, but for dynamic):
#   numbers of a head of 32 rotated at partial_rotary_factor 0.5: Llama 32, Phi 3 16;
#   cosine and sine of YaRN at factor 4 are multiplied by 1.1386, also at attn_factor 0.5, by 0.5 at attention_factor 0.5;
#   dynamic NTK over 64 positions, behind a prompt of 200: one of 32 has the longer one's frequencies in 5.2.0 and its own in
#     5.24.0, one of 100 its own in 5.2.0 and the longer one's in 5.24.0;
#   Phi 3's original context is 4096 where only rope_scaling says 2048;
#   num_key_value_heads that is absent, with 4 query heads: Llama 4, Phi 3 4, Qwen 2 32, Qwen 3 32, Mistral 8.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
try() {
    "$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.11.0 "transformers==$1"
    "$work/venv/bin/python" - 2>/dev/null <<'END'
import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

def config(family, kind, **parameters):
    return getattr(transformers, family + "Config")(
        hidden_size=64, num_attention_heads=2, vocab_size=50, max_position_embeddings=64, pad_token_id=0,
        rope_parameters={"rope_theta": 1e4, "rope_type": kind, **parameters})

def frequencies(module, tokens):
    module(torch.zeros(1), torch.arange(tokens)[None])
    return module.inv_freq.clone()

print(transformers.__version__)
share = {"partial_rotary_factor": 0.5}
print("rotated", *(2 * len(module(config(family, "default", **share)).inv_freq)
                   for family, module in (("Llama", LlamaRotaryEmbedding), ("Phi3", Phi3RotaryEmbedding))))
yarn = {"factor": 4.0, "original_max_position_embeddings": 16}
print("scaling", *(round(LlamaRotaryEmbedding(config("Llama", "yarn", **yarn, **more)).attention_scaling, 4)
                   for more in ({}, {"attn_factor": 0.5}, {"attention_factor": 0.5})))
for tokens in (32, 100):
    fresh, used = (LlamaRotaryEmbedding(config("Llama", "dynamic", factor=2.0)) for _ in range(2))
    longer = frequencies(used, 200)
    found = frequencies(used, tokens)
    own = torch.equal(found, frequencies(fresh, tokens))
    print("dynamic", tokens, "own" if own else "the longer one's" if torch.equal(found, longer) else "other")
section = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 16, "long_factor": [2.0] * 16}
phi = transformers.Phi3Config(hidden_size=64, num_attention_heads=2, max_position_embeddings=8192, pad_token_id=0,
                              rope_parameters={**section, "original_max_position_embeddings": 2048})
print("phi3", phi.rope_parameters["original_max_position_embeddings"])
print("heads", *(getattr(transformers, family + "Config")(hidden_size=64, num_attention_heads=4).num_key_value_heads
                 for family in ("Llama", "Phi3", "Qwen2", "Qwen3", "Mistral")))
END
}
seen=$(try 5.2.0; try 5.24.0)
echo "$seen"
of() { printf '%s\n' "$1" "rotated 32 16" "scaling 1.1386 1.1386 0.5" "dynamic 32 $2" "dynamic 100 $3" "phi3 4096" "heads 4 4 32 32 8"; }
[ "$seen" = "$(of 5.2.0 "the longer one's" own; of 5.24.0 own "the longer one's")" ]
