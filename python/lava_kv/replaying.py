"""Replaying policies over a trace, by the program lava-replay."""

from __future__ import annotations

import operator
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np

from .programs import StrPath, find_program, run_program
from .report import Report, _several
from .trace import Trace, _found, _path

Budgets = str | SupportsIndex | Iterable[str | SupportsIndex] | None


def replay(trace: Trace | StrPath, policies: str | Sequence[str] | None = None, budgets: Budgets = None, *,
           output: StrPath | None = None, match: str = "both", verify: bool = True, rankings: bool = True,
           model: StrPath | None = None, closed_loop: bool = False, steps: int | None = None, free: bool | int = False,
           layer_output: bool = True, threads: int | None = None, device: str = "cpu", program: StrPath | None = None) -> Report:
    """Replay `policies` at `budgets` over a trace (a file, or a Trace) and open the report.

    policies      "snapkv", "lava@official", "snapkv:window=16,kernel=5", ... or several; None: all that the trace can serve.
                  `lava-replay --list-policies` prints them.
    budgets       entries that a KV head keeps on average, the recent ones that are never evicted included: whole numbers, or
                  "20%" of the prompt, "64:512:x2" (64, 128, ... 512), "ratio:0.75" (a share evicted); None: 12 of them
    output        the report's file; None: a temporary one, which goes with the Report
    match         what a budget is compared by: "nominal" (what each policy's rule is given), "retained" (what is then kept),
                  "both"
    verify        check the trace against itself before losses are computed
    rankings      whether the report says which entries are kept, which kept() needs
    model         the trace's model, a Hugging Face folder: losses of layer outputs, too
    closed_loop   let the model decode from every evicted cache, over the trace's steps or `steps`; needs `model`
    free          with closed_loop: let the model answer by itself from every cache, too: at most so many tokens, or True: as many as
                  the trace's prompt asks for (max_new_tokens), or `steps`
    layer_output  with closed_loop: False leaves out the losses of layer outputs
    threads       None: one for each core; any number gives the same report
    device        "cpu" or "cuda"
    program       where lava-replay is, if not where `lava_kv.programs` looks for it: the program or a folder

    Returns a Report, whose tables need lava-analyze, looked for in the same places.
    Raises FileNotFoundError where lava-replay is not found, and ProgramError, with lava-replay's own sentence, where it refuses
    the trace, a policy or a budget. ValueError: no policies or no budgets in a list. TypeError: an argument of another type, such as
    a budget that is no whole number and no string.
    """
    if not isinstance(trace, (Trace, str, bytes, os.PathLike)):
        raise TypeError(f"trace: expected a path or a Trace, found {_found(trace)}")
    file = trace.path if isinstance(trace, Trace) else _path("trace", trace)
    arguments = [f"--policy={_policy(policy)}" for policy in _several("policies", policies, "all that the trace can serve")]
    arguments += [f"--budget={_budget(budget)}" for budget in _several("budgets", budgets, "12 of them")]
    arguments += [f"--match={match}", f"--device={device}"]
    arguments += [f"--{name}={value}" for name, value in (("threads", threads), ("steps", steps)) if value is not None]
    if model is not None:
        arguments.append(f"--model={_path('model', model)}")
    for wanted, option in ((not verify, "--no-verify"), (not rankings, "--no-rankings"), (closed_loop, "--closed-loop"),
                           (free is not False, "--free" if free is True else f"--free={free}"),
                           (not layer_output, "--no-layer-output")):
        if wanted:
            arguments.append(option)
    program = None if program is None else _path("program", program)
    output = None if output is None else _path("output", output)
    found = find_program("lava-replay", program)
    folder = None
    if output is None:
        folder = tempfile.mkdtemp(prefix="lava-kv.")
        output = os.path.join(folder, "report.h5")
    try:
        run_program(found, [*arguments, f"--output={output}", file if not file.startswith("-") else f"./{file}"])
        report = Report(output, program=program)
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    report._keep(folder)
    return report


def _policy(policy: Any) -> str:
    if not isinstance(policy, str):
        raise TypeError(f"policies: expected strings, found {_found(policy)}")
    return policy


def _budget(budget: Any) -> str:
    if isinstance(budget, str):
        return budget
    try:
        if not isinstance(budget, (bool, np.bool_)):
            return str(operator.index(budget))
    except TypeError:
        pass
    raise TypeError(f"budgets: expected whole numbers, or strings such as '20%', found {_found(budget)}")
