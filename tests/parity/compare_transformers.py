#!/usr/bin/env python3
"""Runs SmolLM2 over the committed prompt of 3,800 tokens here and in transformers, live, and compares all of K and V and the
logits of every tenth position. Usage: compare_transformers.py MODEL_FOLDER [lava-dump-forward]. Needs transformers and torch."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "data"))
from make_references import forward, load, read_ids  # noqa: E402

TOLERANCE = 1e-5  # norm of the difference over the norm of the tensor; float32 in another order of sums gives about 1e-6


def run_ours(program, model, ids, positions, like):
    """Our logits, keys and values in the shapes of transformers' `like`."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("ids.json", "positions.json", "out.bin")]
        paths[0].write_text(json.dumps(ids))
        paths[1].write_text(json.dumps(positions))
        subprocess.run([program, model, *paths], check=True)
        values = torch.frombuffer(bytearray(paths[2].read_bytes()), dtype=torch.float32)
    sizes = [tensor.numel() for tensor in like]
    if sum(sizes) != values.numel():
        sys.exit(f"compare_transformers.py: expected {sum(sizes)} values, found {values.numel()}")
    return [part.view_as(tensor) for part, tensor in zip(values.split(sizes), like)]


def relative_error(ours, theirs):
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm()).item()


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare_transformers.py MODEL_FOLDER [lava-dump-forward]")
    model = sys.argv[1]
    program = sys.argv[2] if len(sys.argv) == 3 else ROOT / "build" / "release" / "tests" / "model" / "lava-dump-forward"
    ids = read_ids("smollm2_reference.json")
    positions = list(range(9, len(ids), 10))
    begin = time.monotonic()
    logits, keys, values = forward(load(model), ids, positions)
    print(f"transformers: {len(ids)} tokens, loading included: {time.monotonic() - begin:.1f} s", file=sys.stderr)
    theirs = [logits, *keys, *values]
    ours = run_ours(program, model, ids, positions, theirs)
    errors = [relative_error(a, b) for a, b in zip(ours, theirs)]
    layers = len(keys)
    worst = {"logits": errors[0], "k": max(errors[1:1 + layers]), "v": max(errors[1 + layers:])}
    print(f"logits: largest difference {(ours[0] - theirs[0]).abs().max().item():.2g}, "
          f"same argmax at {(ours[0].argmax(-1) == theirs[0].argmax(-1)).sum().item()} of {len(positions)} positions")
    for name, error in worst.items():
        print(f"{name}: relative difference {error:.2g} (tolerance {TOLERANCE:g})")
    sys.exit(0 if max(worst.values()) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
