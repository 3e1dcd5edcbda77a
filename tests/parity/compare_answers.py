#!/usr/bin/env python3
"""Answers to a benchmark's prompt against transformers: a RULER record goes through lava-prompts, lava-capture and
lava-replay --closed-loop --free; with the whole cache, ids and text of the answer must be those of transformers' greedy generate
for the same prompt ids, max_new_tokens and end tokens. Usage: compare_answers.py MODEL_FOLDER [BUILD_FOLDER]. Needs
transformers, torch and h5py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
RECORD = {"index": 0, "outputs": ["5437923"],
          "input": "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the number "
                   "afterwards.\n" + "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n" * 6
                   + "One of the special magic numbers for wide-eyed is: 5437923.\n" + "The grass is green. The sky is blue.\n" * 6
                   + "What is the special magic number for wide-eyed mentioned in the provided text?",
          "answer_prefix": " The special magic number for wide-eyed mentioned in the provided text is"}


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def ours(folder, build, work, stop):
    """The prompt's line, with `stop` as further end tokens, and ids and text of the answer to it."""
    records, prompts = work / "niah_single_1.jsonl", work / "prompts.jsonl"
    records.write_text(json.dumps(RECORD) + "\n")
    run(build / "capture" / "lava-prompts", "--benchmark", "ruler", "--records", records, "--model", folder, "-o", prompts)
    line = json.loads(prompts.read_text())
    line["stop"]["ids"] = stop
    prompts.write_text(json.dumps(line) + "\n")
    traces = work / f"traces{len(stop)}"
    run(build / "capture" / "lava-capture", "--model", folder, "--prompts", prompts, "--continue", 2, "-o", traces)
    report = work / "report.h5"
    run(build / "replay" / "lava-replay", traces / f"{line['id']}.h5", "-p", "full", "-p", "snapkv", "-b", "64,100%", "--closed-loop",
        "--free", "--no-layer-output", "--model", folder, "-o", report)
    with h5py.File(report) as file:
        loop = file["closed_loop"]
        return line, loop["generated_ids"][:].tolist(), bytes(loop["generated_text_bytes"][:]).decode()


def agrees(folder, build, stop):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as work, torch.no_grad():
        line, ids, text = ours(folder, build, Path(work), stop)
    prompt = torch.tensor([line["ids"]])
    ends = model.generation_config.eos_token_id
    ends = ([ends] if isinstance(ends, int) else list(ends or [])) + stop
    theirs = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=line["max_new_tokens"], do_sample=False,
                            eos_token_id=ends or None, pad_token_id=0)[0, prompt.shape[1]:].tolist()
    expected = theirs + [-1] * (line["max_new_tokens"] - len(theirs))
    if ids != expected:
        print(f"expected ids {expected}, found {ids}")
    if text != tokenizer.decode(theirs, skip_special_tokens=True):
        print(f"expected the text {tokenizer.decode(theirs, skip_special_tokens=True)!r}, found {text!r}")
        return False
    return ids == expected


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare_answers.py MODEL_FOLDER [BUILD_FOLDER]")
    build = Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "build" / "release"
    newline = AutoTokenizer.from_pretrained(sys.argv[1]).encode("\n", add_special_tokens=False)[-1]
    results = [agrees(sys.argv[1], build, stop) for stop in ([], [newline])]
    print(f"answers to a benchmark's prompt: {sum(results)} of {len(results)} as transformers generates them")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
