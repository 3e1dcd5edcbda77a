"""The forms of the LAVa paper's tables (Shen et al. 2025) from the records at hand: what `./lava paper` runs.

A paper's folder is a study's (study.py), with prompts.jsonl made of the records, tables/ and charts/ for each form, and paper.md,
which shows them. Every number is lava-analyze's; this chooses reports and lays rows out.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
import tempfile
from pathlib import Path

import forms
from programs import Programs, Refusal
from records import DEPTHS, LENGTHS, SHIPPED, SOURCES, left_out_prompts, make_prompts
from samples import Folder, Runner, read_prompts, say, write_whole
from study import Parser, add_common, check_model, check_with_programs, main, settings_of, stop, write_samples

POLICIES = ["default", "layer-defensivekv"]
BUDGETS = ["3%,5%,10%,20%,35%,50%"]
MOST_TOKENS = 7500  # of prompts that are cut, where the model's context leaves room for its answers
ROOM = 1300  # tokens of the longest answer, that to InfiniteBench's longbook_sum_eng, and of a chat template


def parse(words):
    parser = Parser("paper", allow_abbrev=False, add_help=False)
    add_common(parser, "paper")
    parser.add_argument("--records", type=Path, default=None, metavar="DIR")
    parser.add_argument("--samples", default="2", metavar="N")
    parser.add_argument("--benchmark", action="append", default=[], choices=[source.benchmark for source in SOURCES])
    parser.add_argument("--lengths", default=LENGTHS, metavar="LIST")
    parser.add_argument("--depths", default=DEPTHS, metavar="LIST")
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--max-length", default=None, metavar="N")
    options = parser.parse_args(words)
    for name in ("samples", "max_length"):
        value = getattr(options, name)
        if value is not None and (not value.isdecimal() or int(value) < 1):
            parser.error(f"--{name.replace('_', '-')}: expected a number of at least 1, found '{value}'")
    has_lava = not {"lava", "default"}.isdisjoint(options.policy or POLICIES)
    options.baseline = options.baseline or ("lava" if has_lava else options.policy[0])
    return options


def longest(options):
    """The --max-length of prompts, in tokens."""
    if options.max_length or options.model is None:
        return options.max_length
    config = json.loads((options.model / "config.json").read_text(encoding="utf-8"))
    context = config.get("max_position_embeddings", MOST_TOKENS + ROOM)
    if context <= ROOM:
        raise Refusal(f"{options.model}: its context of {context} tokens leaves no room for answers; --max-length says how long prompts are")
    return str(min(MOST_TOKENS, context - ROOM))


def sizes_of_records(options):
    """The files of records by name, in bytes: prompts made of other files do not belong together."""
    records = options.records or SHIPPED
    return {str(file.relative_to(records)): file.stat().st_size for source in SOURCES for file in source.files(records)}


def prompts_of(programs, folder):
    """Those of the folder, which is opened here, or made from the records; and the lines of those that are left out."""
    lines, left_out = folder.path / "prompts.jsonl", folder.path / "left-out.jsonl"
    made = None
    if not (lines.exists() and left_out.exists()):
        with tempfile.TemporaryDirectory() as work:
            made = make_prompts(programs, folder.settings, Path(work))
    folder.open()
    if made:
        write_whole(left_out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in made.left_out))
        write_whole(lines, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in made.lines))
    return read_prompts([lines]), [json.loads(line) for line in left_out.read_text(encoding="utf-8").splitlines()]


def paper(options, command):
    if options.model is not None:
        check_model(options.model)
    if options.records is not None and not options.records.is_dir():
        raise Refusal(f"{options.records}: {'expected a folder of records' if options.records.exists() else 'no such folder'}")
    settings = {**settings_of(options, POLICIES, BUDGETS), "records": options.records and str(options.records.absolute()),
                "benchmarks": options.benchmark or [source.benchmark for source in SOURCES], "samples": options.samples,
                "max_length": longest(options), "lengths": options.lengths, "depths": options.depths, "chat": options.chat,
                "files": sizes_of_records(options)}
    if options.model is None:
        del settings["max_length"]
    folder = Folder(options.output, settings)
    if options.check:
        return 0
    programs = Programs(options.build)
    signal.signal(signal.SIGTERM, lambda *_: stop(programs))
    check_with_programs(programs, settings, [], options.baseline)
    prompts, skipped = prompts_of(programs, folder)
    left_out = left_out_prompts(skipped)
    for prompt, line in zip(left_out, skipped):
        folder.note(prompt, status="failed", error=line["error"])
    Runner(programs, folder, keep_rankings=False).run(prompts)
    write_samples(programs, folder, [*prompts, *left_out])
    page = forms.Page(programs, folder, prompts, options.baseline)
    write_whole(folder.path / "paper.md", page.text(command))
    return tell(folder, prompts, left_out)


def command_of(words):
    """As it is typed, from the home folder on."""
    hidden = [place for place, word in enumerate(words) if "--build" in (word, words[place - 1])]
    said = " ".join(shlex.quote(word) for place, word in enumerate(words) if place not in hidden)
    return f"./lava paper {said}".replace(f" {Path.home()}/", " ~/")


def tell(folder, prompts, left_out):
    failed = [prompt for prompt in prompts if not folder.is_done(prompt)]
    for prompt in [*failed, *left_out]:
        say(f"{prompt.id} is left out: {folder.index[prompt.id]['error']}")
    say(f"{len(prompts) - len(failed)} of {len(prompts)} prompts; the tables: {folder.path / 'paper.md'}; as CSV, with charts: "
        f"{folder.path / 'tables'}, {folder.path / 'charts'}")
    return 1 if len(failed) == len(prompts) else 0


if __name__ == "__main__":
    sys.exit(main(lambda words: paper(parse(words), command_of(words)), sys.argv[1:]))
