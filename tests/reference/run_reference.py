#!/usr/bin/env python3
"""Replays synthetic traces and the committed sample with lava-replay and holds every report against the reference.

  run_reference.py --replay lava-replay --analyze lava-analyze --folder SCRATCH [--samples FOLDER]"""

import argparse
import pathlib
import subprocess
import sys

import h5py

HERE = pathlib.Path(__file__).resolve().parent
# Every policy with its defaults, then other parameters than the defaults, with a window of 8.
DEFAULT_POLICIES = (
    "full random streaming-llm h2o tova snapkv pyramidkv vatp ada-snapkv ada-pyramidkv cake lava lava@official "
    "lava-uniform lava-pyramid lava-nohead lava-uniform@official lava-pyramid@official lava-nohead@official "
    "streaming-llm@kvcache-factory-needle h2o@paper tova@paper snapkv@adakv pyramidkv@adakv pyramidkv@paper "
    "ada-snapkv@adakv ada-snapkv@official ada-pyramidkv@adakv cake@cakekv cake@paper cake@cakekv-llama3.1-8b-1024 "
    "lava@official-inference h2o@kvcache-factory snapkv@kvcache-factory pyramidkv@kvcache-factory "
    "ada-snapkv@kvcache-factory h2o@official vatp@official"
).split()
OTHER_POLICIES = [
    "random:window=8,seed=3",
    "streaming-llm:sinks=1",
    "h2o:window=8,gqa=max",
    "snapkv:window=8,kernel=5,pool=avg,gqa=max",
    "snapkv:window=8,kernel=1",
    "pyramidkv:window=8,beta=5,gqa=sum",
    "vatp:window=8,gqa=max,kernel=3",
    "vatp@official-scissorhands:rows=8,window=8",
    "vatp@official-scissorhands:rows=7,window=5",
    "ada-snapkv:window=8,alpha=0.5",
    "ada-snapkv:window=8,alpha=0",
    "ada-pyramidkv:window=8,beta=10,pool=avg",
    "cake:window=8,gamma=5,tau1=1.6,tau2=0.4",
    "cake:window=8,gqa=max,kernel=3",
    "lava:window=8,pool=avg,kernel=5",
    "lava:window=8,gqa=mean",
    "lava:window=8,alpha=0.3",
    "lava:window=8,normalize=on",
    "lava-uniform:window=8,normalize=on,alpha=0.1,floor=nominal",
    "ada-snapkv:window=8,normalize=on",
    "snapkv:window=8,pool=max,gqa=mean,gqa_at=post_pool",
    "snapkv:window=8,pool=none",
    "h2o:window=8,diagonal=off",
    "tova:heads=group",
    "cake:window=8,cascading=off",
    "lava@official:window=8,alpha=0.5",
    "lava-uniform:window=8",
    "lava-pyramid:window=8,beta=5",
    "lava-nohead:window=8,gqa=mean",
    "streaming-llm:recent=8",
    "h2o:recent=half",
    "vatp:window=8,layout=query_head",
    "pyramidkv:window=8,pyramid_ref_N=60",
    "ada-pyramidkv:window=8,pyramid_ref_N=60,layout=query_head",
    "lava-pyramid:window=8,pyramid_ref_N=90,beta=10",
    "snapkv:window=8,precision=emulate_bf16",
    "snapkv:window=8,precision=emulate_fp16,pool=avg,gqa_at=post_pool",
    "snapkv@kvcache-factory:precision=emulate_fp16",
    "vatp:window=8,precision=emulate_bf16",
    "tova:precision=emulate_bf16",
    "ada-snapkv:window=8,precision=emulate_fp16",
    "ada-snapkv:window=8,precision=emulate_bf16,normalize=on",
    "cake:window=8,precision=emulate_fp16,tau2=0.6",
    "cake:window=8,precision=emulate_bf16",
    "lava@official:window=8,precision=emulate_bf16",
    "lava-nohead:window=8,precision=emulate_bf16",
    "loo:window=8",
    "loo:window=8,reduce=mean,unit=relative,heads=uniform,pool=none",
    "loo:window=8,reduce=sum,alpha=0.2,pool=avg",
    "dropkv:window=8",
    "dropkv:window=8,project=wo,reduce=max,gqa=max,heads=layer",
    "compose:window=8",
    "compose:window=8,reduce=max,value_norm=projected,layers=model,heads=layer,floor=0.1",
    "compose:window=8,score=loo,reduce=max,layers=model,heads=layer",
    "compose:window=8,score=last,pool=none,layers=model",
    "compose:window=8,reduce=variance,gamma=5,gqa_at=post_pool,value_norm=token,layers=entropy,heads=layer,floor=0.2",
    "compose:window=8,score=columns,pool=none,value_norm=prefix,layers=pyramid,schedule=paper,beta=5",
    "compose:window=8,score=dropkv-wo,layers=preference,value_norm=all",
    "compose:window=8,reduce=max,gqa=max,layers=pyramid,schedule=kvcache-factory,heads=layer,layout=query_head",
    "compose:window=8,score=columns,diagonal=off,pool=none,recent=half,layout=query_head",
    "compose:window=6,rows=8,value_norm=token,gqa_at=post_pool,sinks=5,recent=even",
    "compose:window=1,gqa=layer,kernel=3",
    "compose:window=8,value_norm=prefix,gqa=max,gqa_at=post_pool,layers=entropy,heads=layer,floor=0.2,floor_of=nominal",
    "compose:window=8,layers=pyramid,heads=shared,shared=mean",
    "compose:window=8,value_norm=all,gqa_at=post_pool,gqa=max,layers=entropy,heads=shared",
]


def first_layer(file):
    return next(iter(file["layers"].values()))


def has_column_sums(trace):
    with h5py.File(trace, "r") as file:
        return "observed_attention" in first_layer(file)


def needs_column_sums(policy):
    return policy.startswith("h2o") or policy.split(":")[0] == "vatp@official" or "score=columns" in policy


def is_trace(path):
    with h5py.File(path, "r") as file:
        return file.attrs.get("format") == "lava-trace"  # beside the traces lie the weights that they link to


def prompt_length(trace):
    with h5py.File(trace, "r") as file:
        return first_layer(file)["k"].shape[1]


def budgets(first, seq_len):
    """Some from `first` to the whole prompt, the ends and their neighbours among them."""
    between = (first + (seq_len - first) * i // 6 for i in range(7))
    return ",".join(map(str, sorted({*between, first + 1, seq_len - 1, seq_len} & set(range(first, seq_len + 1)))))


def replay(program, trace, policies, grid, report):
    chosen = [item for policy in policies for item in ("-p", policy)]
    subprocess.run([program, trace, *chosen, "-b", grid, "--match", "nominal", "-o", report], check=True)


def check(options, trace):
    """0 where the replay of this trace and the reference agree."""
    seq_len, reports = prompt_length(trace), []
    for name, policies, first in (("defaults", DEFAULT_POLICIES, 33), ("others", OTHER_POLICIES, 9)):
        chosen = [policy for policy in policies if has_column_sums(trace) or not needs_column_sums(policy)]
        reports.append(options.folder / f"{trace.stem}.{name}.report.h5")
        replay(options.replay, trace, chosen, budgets(first, seq_len), reports[-1])
    print(f"--- {trace.name}: {seq_len} tokens", flush=True)
    command = [sys.executable, HERE / "check_replay.py", trace, *reports, "--analyze", options.analyze]
    return subprocess.run(command, check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replay", required=True)
    parser.add_argument("--analyze", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path, help="where the traces and reports go")
    parser.add_argument("--samples", type=pathlib.Path, help="a folder of traces, checked besides the synthetic ones")
    options = parser.parse_args()
    synthetic = options.folder / "traces"
    subprocess.run([sys.executable, HERE / "make_traces.py", synthetic], check=True)
    traces = [*sorted(synthetic.glob("*.h5"))]
    if options.samples:
        traces += filter(is_trace, sorted(options.samples.glob("*.h5")))
    statuses = [check(options, trace) for trace in traces]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
