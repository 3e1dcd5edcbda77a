#!/usr/bin/env python3
"""Writes the numbers of transformers that the tests compare with: stories260K_reference.json and smollm2_reference.json.
Needs transformers 5.2.0 and torch. The prompts (token ids) are taken from the files as they are; --text gives SmolLM2 another."""

import argparse
import json
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).resolve().parent
STORIES = HERE.parent.parent / "models" / "stories260K"
PROMPT_TOKENS = 3800
LOGIT_POSITIONS = [949, 1899, 2849, 3799]
LOGIT_COLUMNS = list(range(0, 49152, 3001))
KV_POSITIONS = [0, 1, 63, 64, 947, 2222, 3799]
KV_COLUMNS = [0, 5, 31, 32, 37, 63]


def load(folder):
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


def forward(model, ids, logit_positions):
    """logits [len(logit_positions), vocab]; keys, values: per layer [num_kv_heads, N, head_dim]"""
    with torch.inference_mode():
        out = model(torch.tensor([ids]), use_cache=True, logits_to_keep=torch.tensor(logit_positions))
    layers = out.past_key_values.layers
    return out.logits[0], [layer.keys[0] for layer in layers], [layer.values[0] for layer in layers]


def rounded(tensor):
    """Nine digits bring a float32 back exactly."""
    return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]


def root_mean_square(tensor):
    return float(f"{tensor.double().square().mean().sqrt().item():.9g}")


def stories_reference(ids):
    positions = [0, 1, 63, 64, 200]
    logits, _, _ = forward(load(STORIES), ids, positions)
    return {
        "made_by": f"tests/data/make_references.py, transformers {transformers.__version__}, float32",
        "token_ids_are": "the greedy continuation of BOS by karpathy/llama2.c",
        "token_ids": ids,
        "logits": [{"position": position, "values": rounded(row)} for position, row in zip(positions, logits)],
    }


def sample_cache(tensors):
    return [{"root_mean_square": root_mean_square(layer),
             "values": rounded(layer[:, KV_POSITIONS][..., KV_COLUMNS])} for layer in tensors]


def smollm2_reference(folder, ids):
    logits, keys, values = forward(load(folder), ids, LOGIT_POSITIONS)
    return {
        "made_by": f"tests/data/make_references.py, transformers {transformers.__version__}, float32",
        "token_ids": ids,
        "logits": {"positions": LOGIT_POSITIONS, "columns": LOGIT_COLUMNS, "argmax": logits.argmax(-1).tolist(),
                   "root_mean_square": root_mean_square(logits), "values": rounded(logits[:, LOGIT_COLUMNS])},
        "cache": {"positions": KV_POSITIONS, "columns": KV_COLUMNS, "order": "kv_head, position, column",
                  "k": sample_cache(keys), "v": sample_cache(values)},
    }


def text_prompt(folder, text):
    """The text as a user's message, cut to PROMPT_TOKENS, the end kept: the assistant's turn is opened."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    head, tail = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    encode = lambda part: tokenizer(part, add_special_tokens=False)["input_ids"]
    room = PROMPT_TOKENS - len(encode(head)) - len(encode(tail))
    return encode(head) + encode(text)[:room] + encode(tail)


def read_ids(name):
    return json.loads((HERE / name).read_text())["token_ids"]


def write(name, value):
    (HERE / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("smollm2", type=Path, help="converted SmolLM2-135M-Instruct")
    parser.add_argument("--text", type=Path, help="text of another prompt for SmolLM2")
    options = parser.parse_args()
    write("stories260K_reference.json", stories_reference(read_ids("stories260K_reference.json")))
    ids = text_prompt(options.smollm2, options.text.read_text()) if options.text else read_ids("smollm2_reference.json")
    write("smollm2_reference.json", smollm2_reference(options.smollm2, ids))


if __name__ == "__main__":
    main()
