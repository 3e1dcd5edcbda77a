#!/usr/bin/env python3
"""Prefill of lava-bench-prefill's tokens in transformers (sdpa), to be compared with what that prints on the same machine.
Usage: time_transformers.py MODEL_FOLDER [TOKENS [THREADS]]. Needs transformers and torch."""

import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "data"))
from make_references import load  # noqa: E402


def main():
    if len(sys.argv) not in (2, 3, 4):
        sys.exit("usage: time_transformers.py MODEL_FOLDER [TOKENS [THREADS]]")
    tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 3788
    if len(sys.argv) > 3:
        torch.set_num_threads(int(sys.argv[3]))
    model = load(sys.argv[1])
    ids = torch.tensor([[i * 7919 % model.config.vocab_size for i in range(tokens)]])
    times = []
    for _ in range(3):
        begin = time.monotonic()
        with torch.inference_mode():
            model(ids, use_cache=True, logits_to_keep=1)
        times.append(time.monotonic() - begin)
    print(f"transformers, prefill of {tokens} tokens, {torch.get_num_threads()} threads  {statistics.median(times):8.3f} s")


if __name__ == "__main__":
    main()
