#!/usr/bin/env python3
"""Records the same file of prompts with lava-capture and with capture/python/lava_capture.py and compares what came of them: token ids,
spans, references, how the ids came about, index.json. Usage: compare_prompts.py MODEL_FOLDER [lava-capture]. Needs transformers, torch,
numpy and h5py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "traces" / "python"))
from lava_trace import read_trace  # noqa: E402

STORY = "One day, she saw a big, red ball. The ball was hers; she told every-one: “naïve” 4172!"
WORDS = ("One", "a big, red ball", " ball", "ball. The", "every-one", "“naïve”", "ï", "72", "!", STORY)
PROMPTS = [
    {"id": "plain", "prompt": STORY, "spans": WORDS},
    {"id": "chat", "prompt": STORY, "chat": True, "spans": WORDS, "answer_prefix": " The answer is"},
    {"prompt": "Hello", "reference": " there, said the 2 of them."},
    {"id": "scored", "ids": [504, 3575, 282, 4649, 314], "spans": [{"name": "needle", "begin": 1, "end": 3}], "task": "mine",
     "answers": ["“naïve”"], "all_classes": None, "max_new_tokens": 4, "metric": "qa_f1", "stop": {"ids": [198], "eos": True}},
    {"id": 7, "ids": [1, 504, 3575, 282, 4649], "reference": [314, 7042], "answer_prefix": " It"},
]
KEYS = ("tokenization", "continuation", "spans", "eval_len", "window", "weights_sha256", "next_id")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare_prompts.py MODEL_FOLDER [lava-capture]")
    program = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "build" / "release" / "capture" / "lava-capture")
    options = ["--prompts", "prompts.jsonl", "--continue", "2", "--window", "8"]
    with tempfile.TemporaryDirectory() as folder:
        lines = [{**line, "spans": [span(word) for word in line["spans"]]} if "prompt" in line and "spans" in line else line for line in PROMPTS]
        (Path(folder) / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        model = str(Path(sys.argv[1]).resolve())
        subprocess.run([program, "--model", model, *options, "-o", "ours"], cwd=folder, check=True)
        python = [sys.executable, str(ROOT / "capture" / "python" / "lava_capture.py"), model, "--dtype", "float32", *options, "-o", "theirs"]
        for kept in (0, len(PROMPTS)):
            said = subprocess.run(python, cwd=folder, check=True, text=True, capture_output=True).stdout
            if f"{kept} of them kept from before" not in said:
                sys.exit(f"compare_prompts.py: expected {kept} traces kept from before, found: {said}")
        compare(Path(folder) / "ours", Path(folder) / "theirs")


def span(word):
    begin = STORY.index(word)
    return {"name": word[:20], "begin": begin, "end": begin + len(word)}


def compare(ours, theirs):
    indexes = [json.loads((folder / "index.json").read_text()) for folder in (ours, theirs)]
    entries = [[{key: value for key, value in entry.items() if key != "continuation"} for entry in index["traces"]] for index in indexes]
    different = [] if entries[0] == entries[1] else ["index.json"]
    for entry in entries[0]:
        with read_trace(ours / entry["trace"]) as a, read_trace(theirs / entry["trace"]) as b:
            for key in ("prompt_ids", "eval_ids"):
                if a.info[key].tolist() != b.info[key].tolist():
                    different.append(f"{entry['id']}: {key}: {a.info[key].tolist()} and {b.info[key].tolist()}")
            different += [f"{entry['id']}: {key}: {a.info[key]} and {b.info[key]}" for key in KEYS
                          if None not in (a.info.get(key), b.info.get(key)) and a.info[key] != b.info[key]]
    print(f"{len(PROMPTS)} prompts: " + ("the same in both" if not different else "; ".join(different)))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
