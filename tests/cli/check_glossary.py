"""Usage: check_glossary.py SOURCE_DIR BUILD_DIR. Every column that lava-analyze and lava-replay print is defined in
docs/glossary.md, and every column defined there is printed by some command."""

import csv
import io
import os
import re
import subprocess
import sys
import tempfile

source, build = (os.path.abspath(folder) for folder in sys.argv[1:])


def program(name, *arguments):
    part = {"lava-capture": "capture", "lava-replay": "replay", "lava-analyze": "analysis"}[name]
    command = [os.path.join(build, part, name), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {run.returncode}: {run.stderr}")
    return run.stdout


def header(text):
    return next(csv.reader(io.StringIO(text)))


def make_reports():
    """Two prompts of different lengths, each with spans and the closed loop."""
    story = open(os.path.join(source, "data/story.txt"), encoding="utf-8").read()
    open("short.txt", "w", encoding="utf-8").write(story[:600])
    model = os.path.join(source, "models/stories260K")
    spans = os.path.join(source, "data/story.spans.json")
    for name in ("story", "short"):
        text = os.path.join(source, "data/story.txt") if name == "story" else "short.txt"
        program("lava-capture", "--model", model, "--prompt-file", text, "--spans", spans, "--continue", "4", "-o", f"{name}.h5")
        program("lava-replay", f"{name}.h5", "-p", "snapkv", "-p", "lava", "-p", "tova", "-b", "40%,60%", "--closed-loop", "--free",
                "--model", model, "-o", f"{name}-report.h5", "--csv", f"{name}.csv")
    return ["story-report.h5", "short-report.h5"]


def printed_columns():
    first, second = make_reports()
    one_cell = ["--policy", "lava", "--budget", "40%"]
    commands = [["table", first], ["layers", first], ["heads", first], ["budgets", first], ["map", first], ["bounds", first, "--by", "layer"],
                ["spans", first, "--by", "head"], ["gain", first, second, "-p", "snapkv", "-p", "lava"],
                ["summary", first, second, "--baseline", "snapkv"], ["answers", first], ["curves", first, "-p", "snapkv"]]
    columns = {}
    for command in commands:
        for column in header(program("lava-analyze", *command, "--format", "csv")):
            columns.setdefault(column, f"lava-analyze {command[0]}")
    for column in header(open("story.csv", encoding="utf-8").read()):
        columns.setdefault(column, "lava-replay --csv")
    # retained has no CSV; its table is two lines of title and header
    shown = program("lava-analyze", "retained", first, *one_cell, "--match", "nominal").splitlines()
    for column in next(line for line in shown if line.startswith("layer")).split():
        columns.setdefault(column, "lava-analyze retained")
    return columns


def defined_columns():
    text = open(os.path.join(source, "docs/glossary.md"), encoding="utf-8").read()
    names = []
    for line in text[text.index("## Columns"):text.index("## Words")].splitlines():
        if line.startswith("| `"):
            names += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return names


def pattern_of(column):
    """The name under which a column whose name depends on the report is defined."""
    if re.fullmatch(r"\d+", column):
        return "0, 1, ..."
    return re.sub(r"^(survival|global_eviction)_.+", r"\1_NAME", column)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        columns = printed_columns()
        os.chdir(source)
    printed, defined = {pattern_of(column): command for column, command in columns.items()}, defined_columns()
    faults = [f"docs/glossary.md: expected a definition of {column}, which {command} prints, found none"
              for column, command in printed.items() if column not in defined]
    faults += [f"docs/glossary.md: {column} is defined, but no command prints it" for column in defined if column not in printed]
    faults += [f"docs/glossary.md: {column} is defined twice" for column in sorted(set(defined)) if defined.count(column) > 1]
    if faults:
        sys.exit("\n".join(faults))


main()
