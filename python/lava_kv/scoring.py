"""Scores of what a model answered from every evicted cache, by lava-analyze."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .programs import StrPath
from .report import Policies, Report, Spelled, safe_path, table_of, table_options
from .trace import _path

if TYPE_CHECKING:
    import pandas as pd

_BY = ("run", "sample", "needle")


def scores(reports: Report | StrPath | Iterable[Report | StrPath], policies: Policies = None, budgets: Spelled = None,
           match: str | None = None, *, by: str = "run", baseline: str | None = None, metric: str | None = None,
           program: StrPath | None = None) -> pd.DataFrame:
    """The scores of the answers that reports hold, by the official metrics of their benchmarks, from 0 to 1: a row for each
    policy, share of the prompt and task, with 95 % intervals: the columns of `lava-analyze score --format csv`.

    reports     of replay(closed_loop=True, free=True) over traces of prompts that lava-prompts --benchmark made; opened or paths
    policies, budgets, match   as in Report.table()
    by          "run"; "sample": a row for every prompt, with the answers; "needle": for every length and depth of a needle
    baseline    the policy that the others are compared with, prompt by prompt
    metric      by which to score instead of the prompts' own
    program     where lava-analyze is, if not where `lava_kv.programs` looks for it

    `lava-analyze score --help` says what the columns mean; what it notes, such as that samples are few, goes to sys.stderr. Raises
    ValueError where there are no reports or `by` is none of these, ProgramError, with lava-analyze's own sentence, where a report
    cannot be scored.
    """
    single = isinstance(reports, (Report, str, bytes, os.PathLike))
    paths = [report.path if isinstance(report, Report) else _path("reports", report) for report in ([reports] if single else reports)]
    if not paths:
        raise ValueError("reports: expected at least one, found none")
    if by not in _BY:
        raise ValueError(f"by: expected {', '.join(_BY[:-1])} or {_BY[-1]}, found {by!r}")
    arguments = ["score", *map(safe_path, paths), *table_options(policies, budgets, match), f"--by={by}"]
    arguments += [] if baseline is None else [f"--baseline={baseline}"]
    arguments += [] if metric is None else [f"--metric={metric}"]
    return table_of(arguments, None if program is None else _path("program", program))
