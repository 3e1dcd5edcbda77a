"""Records prompts with a model, replays eviction policies over each, lets the model answer from every evicted cache, and
puts it all into tables: what `./lava study` runs. Prompts with answers are scored, others compared with the dense answer.

A study lies in its folder: index.jsonl says what became of each prompt, reports/ holds a report of each, samples.csv a row for
each prompt, policy and budget, scores.csv and summary.csv the means. The same command goes on where a run stopped; a prompt
that failed is tried again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from programs import ROOT, Failure, Programs, Refusal
from samples import Folder, Runner, policy_words, read_prompts, say, write_whole
from tables import COLUMNS, Seeds, Tables, draw, sample_rows, to_csv

SAMPLE = ROOT / "traces/samples/stories260K.trace.h5"
SAMPLE_MODEL = ROOT / "models/stories260K"


class Parser(argparse.ArgumentParser):
    """Whose errors are one sentence."""

    def error(self, message):
        raise Refusal(f"{self.prog}: {message}; ./lava {self.prog} --help lists what there is", 2)


def add_common(parser, output):
    parser.add_argument("--model", metavar="DIR", type=Path)
    parser.add_argument("-p", "--policy", action="append", default=[], metavar="POLICY")
    parser.add_argument("-b", "--budget", action="append", default=[], metavar="LIST")
    parser.add_argument("--baseline", default="", metavar="POLICY")
    parser.add_argument("--device", default="cpu", metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path(output), metavar="DIR")
    parser.add_argument("--build", type=Path, default=ROOT / "build/release", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # what needs no programs, model and prompts if given


def parse(words):
    parser = Parser("study", allow_abbrev=False, add_help=False)
    add_common(parser, "study")
    parser.add_argument("--prompts", nargs="+", action="extend", default=[], metavar="FILE.jsonl", type=Path)
    parser.add_argument("--metric", default=None, metavar="NAME")
    return parser.parse_args(words)


def settings_of(options, policies, budgets):
    """What all prompts of a study have in common."""
    model = {} if options.model is None else {"model": str(options.model.absolute())}
    return {**model, "policies": options.policy or policies, "budgets": options.budget or budgets, "device": options.device}


def check_model(model):
    if not model.is_dir():
        raise Refusal(f"{model}: {'expected a Hugging Face folder of a model' if model.exists() else 'no such folder'}")
    if not (model / "config.json").is_file():
        raise Refusal(f"{model}: expected a Hugging Face folder of a model, found no config.json in it")


def check_with_programs(programs, settings, prompts, baseline):
    """What only the programs know, before anything is recorded: policies, budgets, metrics, the baseline, the model's files."""
    with tempfile.TemporaryDirectory() as folder:
        check_policies(programs, settings, baseline, Path(folder) / "report.h5")
        for metric in sorted({prompt.values["metric"] for prompt in prompts if prompt.is_scored}):
            attempt(programs, "lava-analyze", "score", "--predictions", os.devnull, "--metric", metric)
        lines = Path(folder) / "prompt.jsonl"
        lines.write_text('{"id": "check", "ids": [1, 2]}\n', encoding="utf-8")
        attempt(programs, "lava-capture", "--model", settings["model"], "--prompts", lines, "--device", settings["device"], "--dry-run",
                "-o", Path(folder) / "trace", all_count=True)


def check_policies(programs, settings, baseline, report):
    """On a small recording that the repository carries; what is only wrong of that, such as its length, is passed over."""
    words = (SAMPLE, "--no-verify", "--no-rankings", "--closed-loop", "--steps", "1", "--no-layer-output", "--model", SAMPLE_MODEL,
             "-o", report)
    attempt(programs, "lava-replay", *words, *policy_words(settings))
    attempt(programs, "lava-replay", *words, *policy_words({**settings, "budgets": ["80%"]}))
    if baseline and report.exists():
        try:
            programs.run("lava-analyze", "summary", report, "--baseline", baseline)
        except Failure as failure:
            raise Refusal(str(failure).replace(f"{report}: ", "--baseline: "), failure.status) from None


def attempt(programs, *words, all_count=False):
    """Raises Refusal where a program refuses its command line or, with all_count, anything; or where a policy needs what no
    recording of a study has."""
    try:
        programs.run(*words)
    except Failure as failure:
        sentence = str(failure).replace(f"{SAMPLE}: ", "")
        for_all = ", which the trace does not have" in sentence or sentence.endswith(": cannot be read")
        if all_count or for_all or failure.status == 2:
            raise Refusal(sentence.replace("the trace does not have", "a study does not record"), failure.status) from None


def write_samples(programs, folder, prompts):
    """samples.csv: a row for each prompt, policy and budget, and for each prompt that failed."""
    seeds = Seeds(programs)
    rows = [row for prompt in prompts for row in sample_rows(programs, seeds, folder, prompt)]
    write_whole(folder.path / "samples.csv", to_csv(rows, COLUMNS))


def write_tables(programs, folder, prompts, baseline):
    """All tables and charts; returns those for people."""
    tables = Tables(programs, folder.path)
    done = [prompt for prompt in prompts if folder.is_done(prompt)]
    reports = [folder.report(prompt) for prompt in done]
    scored = [folder.report(prompt) for prompt in done if prompt.is_scored]
    compared = ["--baseline", baseline] if baseline else []
    texts = []
    if reports:
        texts.append(tables.write("summary", "summary", reports, "--match", "retained", *compared))
    if scored:
        texts.append(tables.write("scores", "score", scored, *compared))
    if len(scored) > 1:
        draw(programs, scored, folder.path / "charts", *compared)
    return [text for text in texts if text]


def tell(folder, prompts):
    failed = [prompt for prompt in prompts if not folder.is_done(prompt)]
    for prompt in failed:
        say(f"{prompt.id} is left out: {folder.index[prompt.id]['error']}")
    say(f"{len(prompts) - len(failed)} of {len(prompts)} prompts; every prompt, policy and budget: {folder.path / 'samples.csv'}; "
        f"a report of each prompt, for ./lava gui: {folder.path / 'reports'}")
    return 1 if len(failed) == len(prompts) else 0


def study(options):
    if options.model is not None:
        check_model(options.model)
    prompts = read_prompts(options.prompts, options.metric)
    settings = settings_of(options, ["default"], ["20%,10%,5%"])
    folder = Folder(options.output, settings)
    if options.check:
        return 0
    programs = Programs(options.build)
    signal.signal(signal.SIGTERM, lambda *_: stop(programs))
    check_with_programs(programs, settings, prompts, options.baseline)
    folder.open()
    Runner(programs, folder).run(prompts)
    write_samples(programs, folder, prompts)
    for text in write_tables(programs, folder, prompts, options.baseline):
        print(text.out, end="")
        for note in text.notes:
            say(note)
    return tell(folder, prompts)


def stop(programs):
    programs.stop()
    raise KeyboardInterrupt


def main(run, words):
    """The exit status; what goes wrong is one sentence."""
    try:
        return run(words)
    except (Refusal, Failure) as refusal:
        say(refusal)
        return refusal.status if isinstance(refusal, Refusal) else 1
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        return 130
    except OSError as error:
        say(f"{error.filename or 'a file'}: {error.strerror}")
        return 1


if __name__ == "__main__":
    sys.exit(main(lambda words: study(parse(words)), sys.argv[1:]))
