"""What the converters share: the layout of a Hugging Face model folder and how one is written."""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np


class ConversionError(Exception):
    """Something the user can mend; the message is one sentence naming the file."""


def run(convert):
    """Runs `convert` as a program's body: a ConversionError or a failed write is one line on stderr and exit status 1."""
    program = Path(sys.argv[0]).name
    try:
        convert()
    except ConversionError as error:
        sys.exit(f"{program}: {error}")
    except OSError as error:
        sys.exit(f"{program}: {error.filename}: {error.strerror}")


def llama_config(**values):
    """config.json of a LlamaForCausalLM with the default rope and without biases. Every key our reader asks for is there."""
    fixed = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_scaling": None,
        "torch_dtype": "float32",
    }
    return fixed | values


def unpermute_rope_rows(weight, heads):
    """Rows of q_proj or k_proj [heads * head_dim, hidden_size] from the layout whose RoPE turns adjacent pairs
    (2i, 2i + 1) to Hugging Face's, which turns (i, i + head_dim / 2)."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)


def write_folder(folder, files):
    """Writes {name: writer(path)}, each through a part of its own. config.json goes last, so a folder that has one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.json"
    config.unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == "config.json"):
        descriptor, path = tempfile.mkstemp(".part", f".{name}.", folder)
        os.close(descriptor)
        part = Path(path)
        try:
            files[name](part)
            part.chmod(0o644)  # safetensors makes its files readable for their owner alone
            os.replace(part, folder / name)
        finally:
            part.unlink(missing_ok=True)


def json_writer(value):
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return lambda path: path.write_text(text, encoding="utf-8")


def bytes_writer(data):
    return lambda path: path.write_bytes(data)
