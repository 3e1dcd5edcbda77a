#!/usr/bin/env python3
"""Peak memory and report size of a replay of 12 policies on a long prompt of a model of Llama-3-8B's shape. A trace of 32 layers
takes 20 GB, so traces of two numbers of layers are made, replayed and removed, and what a layer adds is carried on to 32.
Usage: memory.py [--build FOLDER] [--tokens N] [--layers A,B] [--policies P,...] [--budgets LIST] [--folder FOLDER]"""

import argparse
import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
POLICIES = ("lava,snapkv,streaming-llm,h2o,ada-snapkv,pyramidkv,vatp,ada-pyramidkv,cake,lava@official,lava-uniform,"
            "lava-nohead")
SHAPE = ["--heads", "32", "--kv-heads", "8", "--head-dim", "128", "--hidden-size", "4096", "--eval-len", "16", "--store", "f16"]
LAYERS = 32


def replay(arguments, layers):
    """(peak bytes, report bytes, seconds)"""
    trace, report = arguments.folder / f"memory-{layers}.h5", arguments.folder / f"memory-{layers}-report.h5"
    if not trace.exists():
        subprocess.run([arguments.build / "traces" / "lava-trace", "synth", "--layers", str(layers), *SHAPE, "--seq-len",
                        str(arguments.tokens), "-o", trace], check=True, stdout=subprocess.DEVNULL)
    policies = [part for policy in arguments.policies.split(",") for part in ("-p", policy)]
    begin = time.monotonic()
    process = subprocess.Popen([arguments.build / "replay" / "lava-replay", trace, *policies, "-b", arguments.budgets, "-o", report],
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"lava-replay failed on {trace}")
    result = usage.ru_maxrss * 1024, report.stat().st_size, time.monotonic() - begin
    report.unlink()
    if not arguments.keep:
        trace.unlink()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--layers", default="2,4")
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--budgets", default="1024,4096,16384,65536")
    parser.add_argument("--keep", action="store_true", help="traces stay, and are not made again")
    arguments = parser.parse_args()
    few, more = (int(number) for number in arguments.layers.split(","))
    print(f"{arguments.tokens} tokens, 32 query heads, 8 KV heads of 128; {arguments.policies.count(',') + 1} policies at budgets "
          f"{arguments.budgets}")
    print(f"{'layers':>8}{'peak memory':>16}{'report':>14}{'wall':>10}", flush=True)
    results = []
    for layers in few, more:
        results.append(replay(arguments, layers))
        peak, size, seconds = results[-1]
        print(f"{layers:8}{peak / 2**30:12.2f} GiB{size / 2**20:10.1f} MiB{seconds:8.0f} s", flush=True)
    carried = [b + (b - a) / (more - few) * (LAYERS - more) for a, b in zip(*results)]
    print(f"{LAYERS:8}{carried[0] / 2**30:12.2f} GiB{carried[1] / 2**20:10.1f} MiB, carried on")


if __name__ == "__main__":
    main()
