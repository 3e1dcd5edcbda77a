"""Prompts of the paper's benchmarks, made by lava-prompts from their own records.

A folder of records has a folder for each benchmark, named as here; what a file is of, lava-prompts tells by its name:

    longbench/hotpotqa.jsonl          LongBench's data
    ruler/.../niah_single_1.jsonl     RULER's, at any depth
    infinitebench/passkey.jsonl       InfiniteBench's
    passkey*/*.jsonl                  LongLM's pass keys
    kv-retrieval*, lost_in_the_middle/kv-retrieval*.jsonl
    needle/*.txt                      texts to hide a needle in (without: data/pocahontas.txt)

All but the texts may be packed (.gz).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from programs import ROOT, Failure, Refusal
from samples import Prompt, say

SHIPPED = ROOT / "data/records"
BOOK = ROOT / "data/pocahontas.txt"
LENGTHS, DEPTHS = "1000,2000,4000", "0,25,50,75,100"  # of needles: tokens, percent


class Source:
    """Records of one benchmark. `patterns`: where they lie below a folder of records."""

    def __init__(self, benchmark, *patterns, is_cut=False):
        self.benchmark, self.patterns, self.is_cut = benchmark, patterns, is_cut

    def files(self, records):
        found = {path for pattern in self.patterns for ending in ("", ".gz") for path in records.glob(pattern + ending)}
        return sorted(path for path in found if path.is_file())


SOURCES = [
    Source("longbench", "longbench/*.jsonl", is_cut=True),
    Source("needle", "needle/*.txt"),
    Source("ruler", "ruler/**/*.jsonl"),
    Source("infinitebench", "infinitebench/*.jsonl", is_cut=True),
    Source("passkey", "passkey*/*.jsonl"),
    Source("kv-retrieval", "kv-retrieval*/*.jsonl", "lost_in_the_middle/kv-retrieval*.jsonl"),
]


class Made:
    """Lines of prompts, and of each record or file that gave none, why."""

    def __init__(self, records):
        self.records = records
        self.lines, self.left_out, self.ids, self.readings = [], [], set(), {}

    def add(self, source, file, lines):
        named = [{**line, "id": f"{source.benchmark}-{line['id']}"} for line in lines]
        if any(line["id"] in self.ids for line in named):
            self.leave_out(source, file, None, f"{file}: another file has the same task: {named[0]['task']}")
            return
        self.ids.update(line["id"] for line in named)
        for line in named:
            first = self.readings.setdefault(json.dumps(line["ids"]), line["id"])
            if first == line["id"]:
                self.lines.append(line)
            else:
                number = line["record"].get("line")
                self.leave_out(source, file, number, f"{file}: line {number}: the same prompt as {first}, which would count twice")

    def leave_out(self, source, file, line, sentence):
        name = file.name.removesuffix(".gz").removesuffix(".jsonl")
        place = "" if line is None else f"-line{line}"
        name_of_line = f"{source.benchmark}-{name}{place}"
        same = sum(entry["id"].partition("~")[0] == name_of_line for entry in self.left_out)
        self.left_out.append({"id": f"{name_of_line}~{same + 1}" if same else name_of_line, "benchmark": source.benchmark, "task": name,
                              "error": sentence.replace(f"{self.records}/", "")})


def make_prompts(programs, settings, work):
    """By a paper's settings. Raises Refusal, saying why the first is left out, where there is not a single prompt."""
    records = Path(settings["records"] or SHIPPED)
    made = Made(records)
    common = ["--model", settings["model"], "--skip-longer"]
    for source in SOURCES:
        if source.benchmark not in settings["benchmarks"]:
            continue
        files = source.files(records)
        chat = ["--chat"] if settings["chat"] and source.benchmark != "longbench" else []  # which has its own rule for each task
        if source.benchmark == "needle":
            add(programs, source, files or [BOOK], [*common, *chat, "--lengths", settings["lengths"], "--depths", settings["depths"]], made, work)
            continue
        for file in files:
            cut = ["--max-length", settings["max_length"]] if source.is_cut else []
            add(programs, source, [file], [*common, *chat, "--samples", settings["samples"], *cut], made, work)
    if not made.lines and made.left_out:
        raise Refusal(made.left_out[0]["error"])
    if not made.lines:
        raise Refusal(f"{records}: expected records of {' or '.join(settings['benchmarks'])}, such as longbench/hotpotqa.jsonl, found none")
    return made


def add(programs, source, files, options, made, work):
    """Prompts of one file, or of all texts that a needle is hidden in."""
    say(f"prompts of {source.benchmark}: {files[0].name}")
    output = work / "prompts.jsonl"
    try:
        run = programs.run("lava-prompts", "--benchmark", source.benchmark, "--records", *files, *options, "-o", output)
    except Failure as failure:
        made.leave_out(source, files[0], None, str(failure))
        return
    for note in run.notes:
        line = re.search(r": line (\d+): ", note)
        made.leave_out(source, files[0], line and line[1], note.removeprefix("left out: "))
    made.add(source, files[0], [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()])


def left_out_prompts(lines):
    """As prompts that are never tried."""
    return [Prompt(Path("records"), number, line) for number, line in enumerate(lines, 1)]
