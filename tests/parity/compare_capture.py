#!/usr/bin/env python3
"""Records the same prompt with lava-capture and with capture/python/lava_capture.py over transformers, and compares every
dataset. Usage: compare_capture.py MODEL_FOLDER [lava-capture [TOKENS]]. Needs transformers, torch, numpy and h5py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "data"), str(ROOT / "capture" / "python"), str(ROOT / "traces" / "python")]
from lava_capture import capture  # noqa: E402
from lava_trace import read_trace  # noqa: E402
from make_references import load, read_ids  # noqa: E402

TOLERANCE = 2e-5  # norm of the difference over the norm of the tensor; float32 in another order of sums gives about 2e-6
STEPS = 6


def main():
    if len(sys.argv) not in (2, 3, 4):
        sys.exit("usage: compare_capture.py MODEL_FOLDER [lava-capture [TOKENS]]")
    model = sys.argv[1]
    program = sys.argv[2] if len(sys.argv) > 2 else ROOT / "build" / "release" / "capture" / "lava-capture"
    ids = read_ids("smollm2_reference.json")[:int(sys.argv[3]) if len(sys.argv) > 3 else 1000]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, ids_file = (Path(folder) / name for name in ("ours.h5", "theirs.h5", "ids.json"))
        ids_file.write_text(json.dumps(ids))
        subprocess.run([program, "--model", model, "--ids", ids_file, "--embed-weights", "--store", "f32", "--continue",
                        str(STEPS), "--chunk", "300", "-o", ours], check=True, stdout=subprocess.DEVNULL)
        capture(load(model), ids, theirs, steps=STEPS, chunk=400)
        sys.exit(0 if same(ours, theirs) else 1)


def same(ours, theirs):
    with read_trace(ours) as a, read_trace(theirs) as b:
        worst, good = {}, list(a.info["eval_ids"]) == list(b.info["eval_ids"])
        if not good:
            print(f"continuation: {list(a.info['eval_ids'])} here, {list(b.info['eval_ids'])} in transformers")
        good &= np.allclose(a.info["rope_inv_freq"], b.info["rope_inv_freq"], rtol=1e-7)
        for left, right in zip(a.layers, b.layers, strict=True):
            if set(left) != set(right):
                print(f"datasets: {sorted(set(left) ^ set(right))} in one of the two only")
                good = False
            for key in set(left) & set(right):
                worst[key] = max(worst.get(key, 0), relative_error(left[key], right[key]))
        worst["logits"] = relative_error(a.logits, b.logits)
    for key, error in worst.items():
        print(f"{key}: relative difference {error:.2g} (tolerance {TOLERANCE:g})")
    return good and max(worst.values()) <= TOLERANCE


def relative_error(ours, theirs):
    difference = torch.from_numpy(ours).double() - torch.from_numpy(theirs).double()
    return float(difference.norm() / torch.from_numpy(theirs).double().norm())


if __name__ == "__main__":
    main()
