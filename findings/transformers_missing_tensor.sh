#!/usr/bin/env bash
# transformers 5.2.0 and 5.24.0: a folder whose weights lack a tensor is loaded, with random numbers in its place; a report is
# logged, the process ends with status 0, and two loads answer differently. Seen (both versions): loaded, k_proj and logits of
# two loads differ
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
try() {
    "$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.11.0 "transformers==$1"
    "$work/venv/bin/python" - "$work" 2>/dev/null <<'END'
import sys
import torch
import transformers
from safetensors.torch import load_file, save_file

folder = sys.argv[1]
config = transformers.LlamaConfig(hidden_size=32, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32, vocab_size=50)
transformers.LlamaForCausalLM(config).save_pretrained(folder)
tensors = load_file(folder + "/model.safetensors")
del tensors["model.layers.0.self_attn.k_proj.weight"]
save_file(tensors, folder + "/model.safetensors", metadata={"format": "pt"})
first, second = (transformers.AutoModelForCausalLM.from_pretrained(folder) for _ in range(2))
keys = [model.model.layers[0].self_attn.k_proj.weight for model in (first, second)]
logits = [model(torch.arange(20)[None]).logits for model in (first, second)]
print(transformers.__version__, "keys equal:", torch.equal(*keys), "logits equal:", torch.equal(*logits))
END
}
seen=$(try 5.2.0; try 5.24.0)
echo "$seen"
[ "$seen" = "5.2.0 keys equal: False logits equal: False
5.24.0 keys equal: False logits equal: False" ]
