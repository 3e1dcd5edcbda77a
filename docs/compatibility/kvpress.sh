#!/usr/bin/env bash
# kvpress 0.5.5: which transformers its package asks for, and what its LagKV evicts where more positions score 1 than the budget
# holds. Seen, with torch 2.11.0 on a CPU and keys and values at random: transformers<5.3,>=4.56.0; of 1360 positions 208 score 1,
# 135 are kept, none of them one of the 4 sinks.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install torch==2.11.0 transformers==5.2.0 kvpress==0.5.5
seen=$("$work/venv/bin/python" - 2>/dev/null <<'END'
from importlib.metadata import requires
from types import SimpleNamespace
import torch
from kvpress import LagKVPress

print(next(line for line in requires("kvpress") if line.startswith("transformers")))
torch.manual_seed(0)
keys, values = torch.randn(2, 1, 1, 1360, 8)
keys[..., 0] = torch.arange(1360)  # says which position it is
press = LagKVPress(compression_ratio=0.9)
scores = press.score(None, None, keys, values, None, {})
kept = press.compress(SimpleNamespace(head_dim=8), None, keys, values, None, {})[0][0, 0, :, 0]
print(int((scores == 1).sum()), len(kept), int((kept < 4).sum()))
END
)
echo "$seen"
[ "$seen" = "transformers<5.3,>=4.56.0
208 135 0" ]
