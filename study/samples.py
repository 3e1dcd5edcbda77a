"""A study's folder: its prompts one after another, from the text to a report, and what became of each.

study.json holds what the study was begun with, index.jsonl a line for each prompt that was tried, reports/ID.h5 what
lava-replay found. All of them appear whole or not at all, so that the same command goes on after any stop.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from programs import Failure, Refusal

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")  # of a prompt: of its files, too


class Prompt:
    """A line of a file of prompts, as lava-capture reads it."""

    def __init__(self, file, number, values):
        self.file, self.number, self.values = Path(file), number, values
        self.id = str(values.get("id", f"{number:05}"))
        self.task = values.get("task") or re.sub(r"[-_.]?\d+$", "", self.id)
        self.is_scored = values.get("answers") is not None

    @property
    def where(self):
        return f"{self.file}: line {self.number}"

    @property
    def read(self):
        """What the model reads: prompts that have it in common would count one twice."""
        return json.dumps([self.values.get(key) or "" for key in ("ids", "prompt", "chat", "answer_prefix")])

    @property
    def digest(self):
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()


def read_prompts(files, metric=None):
    """Of all files, in order. metric: of those with answers that name none. Raises Refusal naming file and line."""
    prompts = [prompt for file in files for prompt in prompts_of(Path(file), metric)]
    places, readings = {}, {}
    for prompt in prompts:
        if prompt.id in places:
            raise Refusal(f"{prompt.where}: id {prompt.id}: {places[prompt.id]} has it, too")
        if prompt.read in readings:
            raise Refusal(f"{prompt.where}: the same prompt as {readings[prompt.read]}, which would count twice")
        places[prompt.id] = readings[prompt.read] = prompt.where
    return prompts


def prompts_of(file, metric):
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as stream:
            lines = stream.read().split("\n")
    except FileNotFoundError:
        raise Refusal(f"{file}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Refusal(f"{file}: cannot be read: {error}") from None
    prompts = [prompt_of(file, number, line, metric) for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise Refusal(f"{file}: expected a JSON object a line, found none")
    return prompts


def prompt_of(file, number, line, metric):
    where = f"{file}: line {number}"
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise Refusal(f"{where}: expected a JSON object, found something else")
    if ("prompt" in values) == ("ids" in values):
        raise Refusal(f"{where}: expected prompt or ids, found {'both' if 'ids' in values else 'neither'}; "
                      "records of a benchmark become prompts by lava-prompts --benchmark")
    prompt = Prompt(file, number, values)
    if not NAME.fullmatch(prompt.id):
        raise Refusal(f"{where}: id: expected letters, digits, '.', '_' and '-', found {json.dumps(values['id'])[:80]}")
    if prompt.is_scored and metric and values.get("metric") is None:
        values["metric"] = metric
    if prompt.is_scored and values.get("metric") is None:
        raise Refusal(f"{where}: expected a metric beside answers, found none; --metric names one for all such prompts")
    if not prompt.is_scored and values.get("metric") is not None:
        raise Refusal(f"{where}: expected answers beside metric, found none")
    return prompt


def write_whole(path, text):
    """A file that is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


class Folder:
    """Where a study lies. `settings` are those of all its prompts; another study's folder is refused."""

    def __init__(self, path, settings):
        self.path, self.settings = Path(path), settings
        self.index = {}  # id: its line
        noted = self.path / "study.json"
        if noted.exists():
            self.compare(noted)
        elif self.path.exists() and (not self.path.is_dir() or any(file.name != "prompts.jsonl" for file in self.path.iterdir())):
            raise Refusal(f"{self.path}: expected a new or empty folder or an earlier study's, found something else")

    def compare(self, noted):
        try:
            before = json.loads(noted.read_text(encoding="utf-8"))
        except ValueError:
            raise Refusal(f"{noted}: expected what a study was begun with, found something else") from None
        for key, value in self.settings.items():
            if before.get(key) != value:
                raise Refusal(f"{noted}: expected the same {key} as this study was begun with, {text_of(before.get(key))}, "
                              f"found {text_of(value)}; another --output begins another study")
        if (self.path / "index.jsonl").exists():
            with open(self.path / "index.jsonl", encoding="utf-8") as stream:
                self.index = {line["id"]: line for line in map(json.loads, stream)}

    def open(self):
        """Makes it, and keeps others out until this process ends."""
        (self.path / "reports").mkdir(parents=True, exist_ok=True)
        self.lock = open(self.path / ".lock", "w", encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refusal(f"{self.path}: another study is at work here") from None
        write_whole(self.path / "study.json", json.dumps(self.settings, indent=1, ensure_ascii=False) + "\n")
        shutil.rmtree(self.path / "recording", ignore_errors=True)

    def report(self, prompt):
        return self.path / "reports" / f"{prompt.id}.h5"

    def is_done(self, prompt):
        line = self.index.get(prompt.id, {})
        return line.get("status") == "done" and line.get("sha256") == prompt.digest and self.report(prompt).exists()

    def note(self, prompt, **more):
        self.index[prompt.id] = {"id": prompt.id, "task": prompt.task, "sha256": prompt.digest, **more}
        lines = [json.dumps(line, ensure_ascii=False) for line in self.index.values()]
        write_whole(self.path / "index.jsonl", "\n".join(lines) + "\n")


def text_of(value):
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


class Runner:
    """Takes prompts of a folder to their reports."""

    def __init__(self, programs, folder, keep_rankings=True):
        self.programs, self.folder, self.keep_rankings = programs, folder, keep_rankings

    def run(self, prompts):
        """All that are not there yet; one that fails is a line of the index."""
        for place, prompt in enumerate(prompts, 1):
            if self.folder.is_done(prompt):
                continue
            say(f"{prompt.id} ({place} of {len(prompts)})")
            try:
                self.folder.note(prompt, status="done", **self.take(prompt))
            except Failure as failure:
                self.folder.report(prompt).unlink(missing_ok=True)
                self.folder.note(prompt, status="failed", error=str(failure))
                say(f"{prompt.id} failed: {failure}")

    def take(self, prompt):
        """Records and replays it; the trace is gone then. Returns what that took."""
        work = self.folder.path / "recording"
        work.mkdir()
        try:
            lines = work / prompt.file.name.removesuffix(".gz")
            values = {**prompt.values, "id": prompt.id, **({"task": prompt.task} if prompt.is_scored else {})}
            lines.write_text("\n" * (prompt.number - 1) + json.dumps(values) + "\n", encoding="utf-8")  # at its own line
            begin = time.monotonic()
            recorded = self.programs.run("lava-capture", "--model", self.folder.settings["model"], "--prompts", lines,
                                         "--device", self.folder.settings["device"], "-o", work / "trace")
            middle = time.monotonic()
            replayed = self.replay(work / "trace" / f"{prompt.id}.h5", self.folder.report(prompt))
            return {"record_seconds": round(middle - begin, 2), "replay_seconds": round(time.monotonic() - middle, 2),
                    "peak_mb": max(recorded.peak_mb, replayed.peak_mb), "notes": replayed.notes}
        except Failure as failure:
            raise Failure(str(failure).replace(str(lines), str(prompt.file)), failure.status) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def replay(self, trace, report):
        settings = self.folder.settings
        device = settings["device"].partition(":")[0]  # lava-replay takes the first GPU
        return self.programs.run("lava-replay", trace, *policy_words(settings), "--closed-loop", "--free", "--model",
                                 settings["model"], "--device", device, *([] if self.keep_rankings else ["--no-rankings"]), "-o", report)


def policy_words(settings):
    return [*(word for policy in settings["policies"] for word in ("-p", policy)),
            *(word for budget in settings["budgets"] for word in ("-b", budget))]


def say(sentence):
    print(f"lava: {sentence}", file=sys.stderr, flush=True)
