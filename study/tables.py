"""What lava-analyze says of a study's reports, as files: one tidy CSV, tables of scores and losses, charts."""

from __future__ import annotations

import csv
import io
import json
import shutil

from programs import Failure
from samples import say, write_whole

KEY = ("policy", "match", "budget")
SPANS = ("context", "question", "needle", "answer")  # those that lava-prompts names
LOSSES = [f"{name}{relative}" for name in ("head_output_l1", "head_output_l2", "attn_out_l1", "attn_out_l2", "layer_out_l1", "layer_out_l2")
          for relative in ("", "_relative")]
TABLE = ["head_l1", *LOSSES, "bound_lava", "bound_adakv", "bound_projected", "tightness_lava", "tightness_adakv", "tightness_projected",
         "kl", "cross_entropy", "top1_agreement", "drift_l1_relative", "drift_l2_relative", "kl_all_steps", "answer_steps",
         *(f"{name}_{span}" for span in SPANS for name in ("survival", "global_eviction"))]
# The columns of samples.csv, the same of every study; what they mean: lava-analyze columns, and docs/guide.md of the first ones.
COLUMNS = ["prompt", "benchmark", "variant", "task", "seq_len", "policy", "match", "budget", "share", "nominal", "seed", "asked",
           "granted", "retained", "retained_share", "metric", "score", "needle_word_overlap", "dense_score", "exact", "dense_exact",
           "same_as_dense", *TABLE, "answer", "dense_answer", "right_answers", "error"]


def rows_of(programs, command, *arguments):
    """A table of lava-analyze as dictionaries of texts."""
    printed = programs.run("lava-analyze", command, *arguments, "--format", "csv")
    return list(csv.DictReader(io.StringIO(printed.out, newline="")))


def to_csv(rows, columns):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Seeds:
    """The seed that a policy draws its random numbers from; empty for one that draws none."""

    def __init__(self, programs):
        listed = json.loads(programs.run("lava-replay", "--list-policies", "--format", "json").out)
        self.defaults = {policy["name"]: parameter["default"] for policy in listed for parameter in policy["parameters"]
                         if parameter["name"] == "seed"}

    def of(self, policy):
        name, _, parameters = policy.partition(":")
        for parameter in parameters.split(","):
            if parameter.startswith("seed="):
                return parameter.removeprefix("seed=")
        return self.defaults.get(name.partition("@")[0], "")


def sample_rows(programs, seeds, folder, prompt):
    """Of a prompt: a row for each policy and budget, or one that says why there are none."""
    line = folder.index.get(prompt.id, {"error": "not tried yet"})
    said = {"prompt": prompt.id, "task": prompt.task, "benchmark": prompt.values.get("benchmark", ""),
            "variant": prompt.values.get("variant", "")}
    if line.get("status") != "done":
        return [{**said, "error": line["error"]}]
    report = folder.report(prompt)
    more = {}
    for command, options in (("summary", ("--by", "report")), ("answers", ()), ("score", ("--by", "sample"))):
        if command == "score" and not prompt.is_scored:
            continue
        for row in rows_of(programs, command, report, *options):
            more.setdefault(tuple(row[name] for name in KEY), {}).update(row)
    rows = []
    for row in rows_of(programs, "table", report):
        beside = more.get(tuple(row[name] for name in KEY), {})
        rows.append({**beside, **row, **said, "share": row["budget_share"], "seed": seeds.of(row["policy"])})
    return rows


class Tables:
    """Files of tables in a study's folder, of the reports of prompts that did not fail."""

    def __init__(self, programs, path):
        self.programs, self.path = programs, path

    def write(self, name, command, reports, *options):
        """NAME.csv, and returns the same for people; nothing where lava-analyze says that there is none, which is said."""
        try:
            text = self.programs.run("lava-analyze", command, *reports, *options)
            table = self.programs.run("lava-analyze", command, *reports, *options, "--format", "csv")
        except Failure as failure:
            say(f"no {name}: {failure}")
            return None
        write_whole(self.path / f"{name}.csv", table.out)
        return text


def draw(programs, reports, charts, *options):
    """The folder `charts`, anew: whether there are any."""
    part = charts.with_name(f".{charts.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        programs.run("lava-analyze", "plot", *reports, "-o", part, *options)
    except Failure as failure:
        say(f"no charts in {charts}: {failure}")
        return False
    shutil.rmtree(charts, ignore_errors=True)
    part.rename(charts)
    return True
