#!/usr/bin/env python3
"""What do 12 policies at 64 budgets cost one prompt of about 4k tokens, and what does the model then say? Times the answer of this
toolkit (recording the prompt, exact losses, 12 decoded steps from every cache) against two other ways, of which a few cells are run
and the mean multiplied: kvpress, a prefill with a press and 12 steps for each cell; and one prefill in transformers, then for each
cell a cut copy of its cache and 12 steps. Usage: whole_question.py MODEL_FOLDER [--build FOLDER] [--threads N] [--tokens N]
[--clock wall|cpu]. Needs kvpress 0.5.5, transformers, torch and h5py."""

import argparse
import copy
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import h5py
import torch
from kvpress import ExpectedAttentionPress, KnormPress, SnapKVPress
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils.logging import disable_progress_bar

ROOT = Path(__file__).resolve().parents[1]
POLICIES = ["lava", "snapkv", "streaming-llm", "h2o", "ada-snapkv", "pyramidkv", "vatp", "ada-pyramidkv", "cake", "lava@official",
            "lava-uniform", "lava-nohead"]
BUDGETS, STEPS = 64, 12
QUESTION = "What is the secret code that opens the green door?"
PROMPT = ["--chat", "--haystack", str(ROOT / "data" / "pocahontas.txt"), "--needle",
          "The secret code that opens the green door is 4172.", "--depth", "0.5", "--question", QUESTION]


class Stopwatch:
    """Seconds of this process, or of a program it runs, by either clock."""

    def __init__(self, clock):
        self.clock = clock

    def of(self, work):
        begin = self.now()
        work()
        return self.now() - begin

    def now(self):
        if self.clock == "wall":
            return time.monotonic()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime


def even_budgets(tokens):
    return [65 + (tokens - 65) * g // BUDGETS for g in range(BUDGETS)]


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def time_ours(arguments, folder, watch):
    trace = folder / "trace.h5"
    budgets = ",".join(str(budget) for budget in even_budgets(arguments.tokens))
    policies = [part for policy in POLICIES for part in ("-p", policy)]
    capture = watch.of(lambda: run(arguments.build / "capture" / "lava-capture", "--model", arguments.model, *PROMPT, "--tokens",
                                   arguments.tokens, "--threads", arguments.threads, "-o", trace))
    common = [arguments.build / "replay" / "lava-replay", trace, *policies, "-b", budgets, "--match", "nominal", "--threads",
              arguments.threads, "-o", folder / "report.h5"]
    open_loop = watch.of(lambda: run(*common))
    both = watch.of(lambda: run(*common, "--model", arguments.model, "--closed-loop", "--steps", STEPS, "--no-layer-output"))
    print(f"  recording the prompt                    {capture:9.2f} s")
    print(f"  exact losses of {len(POLICIES)} x {BUDGETS} cells          {open_loop:9.2f} s, report included")
    print(f"  the same and {STEPS} steps from every cache   {both:9.2f} s")
    return capture + both


def decode(model, cache, first, position):
    token = first
    for step in range(STEPS):
        positions = torch.tensor([[position + step]])
        output = model(token, past_key_values=cache, use_cache=True, position_ids=positions, cache_position=positions[0])
        token = output.logits[:, -1:].argmax(-1)


def time_kvpress(model, ids, watch):
    seconds = []
    for press in SnapKVPress(0.5), KnormPress(0.9), ExpectedAttentionPress(0.75):
        def cell():
            cache = DynamicCache()
            with press(model):
                first = model(ids, past_key_values=cache, logits_to_keep=1).logits[:, -1:].argmax(-1)
            decode(model, cache, first, ids.shape[1])
        seconds.append(watch.of(cell))
    print(f"  a prefill with a press and {STEPS} steps: {', '.join(f'{s:.2f}' for s in seconds)} s")
    return sum(seconds) / len(seconds) * len(POLICIES) * BUDGETS


def cut(cache, budget):
    """A copy that keeps some `budget` tokens of every head, as a policy's choice would be gathered."""
    result = copy.copy(cache)
    result.layers = []
    for layer in cache.layers:
        heads, tokens = layer.keys.shape[1:3]
        kept = torch.rand(1, heads, tokens).argsort(-1)[..., :budget].sort(-1).values
        index = kept.unsqueeze(-1).expand(-1, -1, -1, layer.keys.shape[-1])
        short = copy.copy(layer)
        short.keys, short.values = layer.keys.gather(2, index), layer.values.gather(2, index)
        result.layers.append(short)
    return result


def time_cut_caches(model, ids, watch):
    cache = DynamicCache()
    logits = None

    def prefill():
        nonlocal logits
        logits = model(ids, past_key_values=cache, logits_to_keep=1).logits
    seconds = watch.of(prefill)
    first = logits[:, -1:].argmax(-1)
    budgets = even_budgets(ids.shape[1])[BUDGETS // 8::BUDGETS // 4]
    cells = [watch.of(lambda budget=budget: decode(model, cut(cache, budget), first, ids.shape[1])) for budget in budgets]
    print(f"  one prefill: {seconds:.2f} s; a cut cache and {STEPS} steps: {', '.join(f'{s:.2f}' for s in cells)} s")
    return seconds + sum(cells) / len(cells) * len(POLICIES) * BUDGETS


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", type=int, default=3788)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    watch = Stopwatch(arguments.clock)
    disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    cells = len(POLICIES) * BUDGETS
    print(f"{arguments.tokens} tokens, {len(POLICIES)} policies x {BUDGETS} budgets, {STEPS} steps; {arguments.threads} threads, "
          f"{arguments.clock} clock", flush=True)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        print("this toolkit", flush=True)
        ours = time_ours(arguments, Path(folder), watch)
        with h5py.File(Path(folder) / "trace.h5") as trace:
            ids = torch.from_numpy(trace["tokens/prompt_ids"][:].astype("int64"))[None]
        model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32, attn_implementation="sdpa").eval()
        print("kvpress", flush=True)
        kvpress = time_kvpress(model, ids, watch)
        print("transformers", flush=True)
        transformers = time_cut_caches(model, ids, watch)
    print(f"{'this toolkit, all ' + str(cells) + ' cells':48}{ours:10.1f} s")
    print(f"{'kvpress, from 3 cells':48}{kvpress:10.0f} s  {kvpress / ours:8.1f} times as long")
    print(f"{'one prefill and cut caches, from 4 cells':48}{transformers:10.0f} s  {transformers / ours:8.1f} times as long")


if __name__ == "__main__":
    main()
