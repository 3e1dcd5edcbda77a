#!/usr/bin/env python3
"""KVzip's scores and the queries' statistics of lava-capture against kvpress, live. Usage:
compare_repeat_pass.py MODEL_FOLDER [lava-capture [TOKENS]]. Needs kvpress (0.5.5), transformers, torch, numpy and h5py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "data"), str(ROOT / "traces" / "python")]
from kvpress import ExpectedAttentionPress, KVzipPress  # noqa: E402
from lava_trace import read_trace  # noqa: E402
from make_references import load, read_ids  # noqa: E402
from transformers import DynamicCache  # noqa: E402

TOLERANCE = 1e-4  # norm of the difference over the norm of the tensor; maxima over queries of float32 softmaxes


class Scores(KVzipPress):
    """Keeps its scores and evicts nothing."""

    def compress_post(self, model):
        self.kept = self.score_val[:, 0].clone()


class Statistics(ExpectedAttentionPress):
    """Keeps mean and covariance before they are rotated, and evicts nothing."""

    def apply_avg_rope(self, module, mu, cov, q_len):
        self.kept.append((mu[0], cov[0]))
        return super().apply_avg_rope(module, mu, cov, q_len)


def relative_error(ours, theirs):
    theirs = theirs.double().cpu()
    return float((torch.from_numpy(ours).double() - theirs).norm() / theirs.norm())


@torch.no_grad()
def run(press, model, ids):
    with press(model):
        model.model(input_ids=torch.tensor([ids]), past_key_values=DynamicCache())
    return press.kept


def main():
    if len(sys.argv) not in (2, 3, 4):
        sys.exit("usage: compare_repeat_pass.py MODEL_FOLDER [lava-capture [TOKENS]]")
    folder = sys.argv[1]
    program = sys.argv[2] if len(sys.argv) > 2 else ROOT / "build" / "release" / "capture" / "lava-capture"
    ids = read_ids("smollm2_reference.json")[:int(sys.argv[3]) if len(sys.argv) > 3 else 2300]  # two chunks
    model = load(folder)
    model.set_attn_implementation("sdpa")  # KVzipPress refuses eager
    statistics = Statistics(compression_ratio=0.5)
    statistics.kept = []
    theirs = {"plain": run(Scores(compression_ratio=0.5), model, ids),
              "plus": run(Scores(compression_ratio=0.5, kvzip_plus_normalization=True), model, ids),
              "statistics": run(statistics, model, ids)}
    worst = {}
    with tempfile.TemporaryDirectory() as temporary:
        trace_file, ids_file = Path(temporary) / "t.h5", Path(temporary) / "ids.json"
        ids_file.write_text(json.dumps(ids))
        subprocess.run([program, "--model", folder, "--ids", ids_file, "--embed-weights", "--continue", "0",
                        "--repeat-pass", "-o", trace_file], check=True, stdout=subprocess.DEVNULL)
        with read_trace(trace_file) as trace:
            for index, layer in enumerate(trace.layers):
                mean, covariance = theirs["statistics"][index]
                for key, expected in (("repeat_maxima", theirs["plain"][index]),
                                      ("repeat_maxima_plus", theirs["plus"][index]),
                                      ("q_pre_rope_mean", mean), ("q_pre_rope_cov", covariance)):
                    worst[key] = max(worst.get(key, 0), relative_error(layer[key], expected))
    for key, error in worst.items():
        print(f"{key}: relative difference {error:.2g} (tolerance {TOLERANCE:g})")
    sys.exit(0 if max(worst.values()) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
