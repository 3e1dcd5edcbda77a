#!/usr/bin/env python3
"""Gives capture/python/lava_capture.py models that it cannot take, made of models/stories260K: each must be refused in one sentence that
names what is wrong, before anything is written. Usage: refused_folders.py. Needs transformers, torch, numpy and h5py."""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "capture" / "python"), str(ROOT / "traces" / "python")]
import lava_capture  # noqa: E402

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n"
IDS = ["--ids", "ids.json"]
# What is changed in config.json, other files (None: removed), options, and what must be said.
CASES = [
    ({}, {"model.safetensors": POINTER}, IDS, "model.safetensors: a Git LFS pointer"),
    ({}, {"model.safetensors": None}, IDS, "does not load it as a causal language model"),
    ({}, {"model.safetensors": b"\x00" * 5}, IDS, "does not load it as a causal language model"),
    ({}, {"config.json": None}, IDS, "expected a config.json, found none"),
    ({}, {"config.json": b"{"}, IDS, "cannot read its config.json"),
    ({"model_type": "nosuch"}, {}, IDS, "cannot read its config.json"),
    ({"model_type": "t5"}, {}, IDS, "expected a causal language model"),
    ({"num_hidden_layers": 6}, {}, IDS, "found no model.layers.5.input_layernorm.weight nor 8 others"),
    ({"tie_word_embeddings": None}, {}, IDS, "found no lm_head.weight"),
    ({"hidden_size": 128, "head_dim": 16}, {}, IDS, "tensor model.embed_tokens.weight: expected shape [512, 128], found [512, 64]"),
    ({}, {"ids.json": b"[1, 600]"}, IDS, "token 1: expected an id below 512, the model's vocabulary, found 600"),
    ({}, {}, ["--prompt", "Once"], "its tokenizer cannot be read"),
    ({}, {}, [*IDS, "--device", "nosuch"], "--device nosuch"),
]


def main():
    wrong = 0
    for changes, files, options, message in CASES:
        said = refusal(changes, files, options)
        good = message in said and "\n" not in said
        wrong += not good
        print(f"{'refused' if good else 'WRONG'}: {said}")
    print(f"{len(CASES) - wrong} of {len(CASES)} folders are refused in one sentence")
    sys.exit(1 if wrong else 0)


def refusal(changes, files, options):
    """What is said of such a folder; what else it prints and writes is wrong."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            model = Path("model")
            shutil.copytree(ROOT / "models" / "stories260K", model)
            config = {**json.loads((model / "config.json").read_text()), **changes}
            (model / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
            Path("ids.json").write_bytes(files.pop("ids.json", b"[1, 403, 407]"))
            for name, content in files.items():
                (model / name).unlink() if content is None else (model / name).write_bytes(content)
            sys.argv = ["lava_capture.py", str(model), *options, "--window", "2", "-o", "t.h5"]
            with contextlib.redirect_stderr(io.StringIO()):
                lava_capture.main()
        except ValueError as error:
            return f"{error}" + ("" if sorted(os.listdir()) == ["ids.json", "model"] else "\nand something was written")
        finally:
            os.chdir(before)
    return "nothing: it was taken"


if __name__ == "__main__":
    main()
