"""A changed byte is noticed: one byte of a trace, of its weights file or of a report is another one, and each program that reads
the file either refuses it in one sentence or prints and writes what it does of the undamaged file.

Prints how often each program did what; exit status 1, with each place, where an output changed silently, a program crashed or
hung, or a refusal is not one sentence.
"""

import argparse
import collections
import concurrent.futures
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/stories260K"
WEIGHTS = "stories260K.weights.h5"
CAPTURE = ["capture/lava-capture", "--model", MODEL, "--prompt-file", ROOT / "data/story.txt",
           "--spans", ROOT / "data/story.spans.json", "--continue", "16", "-o", "trace.h5"]
REPLAY = ["replay/lava-replay", "trace.h5", "--model", MODEL, "--closed-loop", "--free=8", "--threads", "1",
          "-p", "snapkv", "-p", "lava", "-p", "streaming-llm", "-b", "80,128", "-o", "report.h5"]
TABLES = [["analysis/lava-analyze", *words, "report.h5"] for words in (["table", "--format", "json"], ["heads"], ["answers"])]
REFUSED, SAME, CHANGED, CRASHED, ODD = KINDS = ["refused", "same output", "changed silently", "crashed or hung", "refused otherwise"]
SECONDS = 60  # a run that takes longer hangs: an undamaged one takes one or two


def run(command, folder, programs):
    """Exit status (None: it hung), stdout, stderr and the report that the command wrote (None where it wrote none)."""
    report = folder / "report.h5"
    try:
        done = subprocess.run([programs / command[0], *command[1:]], cwd=folder, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None, b"", b"", None
    return done.returncode, done.stdout, done.stderr, report.read_bytes() if command is REPLAY and report.exists() else None


def kind_of(outcome, undamaged, command):
    status, out, err, report = outcome
    if status is None or status < 0:
        return CRASHED
    if status == 0:
        return SAME if outcome == undamaged else CHANGED
    is_sentence = err.startswith(f"{Path(command[0]).name}: ".encode()) and err.count(b"\n") == 1 and err.endswith(b"\n")
    return REFUSED if (status, out, report) == (1, b"", None) and is_sentence else ODD


def name_of(command):
    return Path(command[0]).name + (f" {command[1]}" if command in TABLES else "")


def places_of(file, structure):
    """The offsets that may be damaged: all, or those that hold no dataset's values."""
    if not structure:
        return range(file.stat().st_size)
    import h5py
    free = bytearray(b"\1") * file.stat().st_size

    def take(_, item):
        if isinstance(item, h5py.Dataset):
            chunks = [item.id.get_chunk_info(i) for i in range(item.id.get_num_chunks())] if item.chunks else []
            stretches = [(chunk.byte_offset, chunk.size) for chunk in chunks]
            for begin, size in stretches or [(item.id.get_offset() or 0, item.id.get_storage_size())]:
                free[begin:begin + size] = bytes(size)

    with h5py.File(file) as opened:
        opened.visititems(take)
    return [place for place, is_free in enumerate(free) if is_free]


class Campaign:
    def __init__(self, programs, work, options):
        self.programs, self.work, self.options = programs, work, options
        self.whole = work / "whole"
        self.whole.mkdir()
        self.undamaged = {}
        for command in (CAPTURE, REPLAY, *TABLES):
            outcome = self.undamaged[name_of(command)] = run(command, self.whole, programs)
            if outcome[0] != 0:
                sys.exit(f"flip_bytes.py: the undamaged file: {outcome[2].decode()}")
        self.end = time.monotonic() + options.seconds
        self.counts, self.faults = collections.defaultdict(collections.Counter), []

    def run_damaged(self, name, beside, commands, place, change):
        """(command, kind, words) of each command, in a folder that holds the damaged file and what lies beside it."""
        if time.monotonic() > self.end:
            return []
        content = bytearray((self.whole / name).read_bytes())
        words = f"{name}: byte {place}: {content[place]} -> {content[place] ^ change}"
        content[place] ^= change
        found = []
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            folder = Path(folder)
            (folder / name).write_bytes(content)
            for other in beside:
                os.link(self.whole / other, folder / other)
            for command in commands:
                outcome = run(command, folder, self.programs)
                kind = kind_of(outcome, self.undamaged[name_of(command)], command)
                found.append((name_of(command), kind, f"{words}: status {outcome[0]}: {outcome[2].decode(errors='replace')[:300]}"))
        return found

    def damage_file(self, name, rounds, beside, commands):
        draw = random.Random(f"{self.options.seed} {name}")
        places = places_of(self.whole / name, self.options.structure)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = [pool.submit(self.run_damaged, name, beside, commands, draw.choice(places), draw.randrange(1, 256))
                    for _ in range(rounds)]
            for reader, kind, words in itertools.chain.from_iterable(each.result() for each in runs):
                self.counts[name, reader][kind] += 1
                if kind not in (REFUSED, SAME):
                    self.faults.append(f"{reader}: {kind}: {words}")

    def print_table(self):
        print(f"{'damaged':<24}{'read by':<24}" + "".join(f"{kind:>19}" for kind in KINDS))
        for (name, reader), counts in self.counts.items():
            print(f"{name:<24}{reader:<24}" + "".join(f"{counts[kind]:>19}" for kind in KINDS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", metavar="BUILD_DIR", type=Path, required=True, help="build folder with the programs")
    parser.add_argument("--rounds", nargs=3, type=int, default=[200, 20, 400], metavar=("TRACE", "WEIGHTS", "REPORT"),
                        help="how often each file is damaged (default: 200 20 400)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after that time (default: no end)")
    parser.add_argument("--seed", type=int, default=1, help="of the places and values (default: 1)")
    parser.add_argument("--structure", action="store_true", help="damage only bytes that hold no dataset's values; needs h5py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        campaign = Campaign(options.programs.resolve(), Path(work), options)
        trace, weights, report = options.rounds
        campaign.damage_file("trace.h5", trace, [WEIGHTS], [REPLAY])
        campaign.damage_file(WEIGHTS, weights, ["trace.h5"], [REPLAY])
        campaign.damage_file("report.h5", report, [], TABLES)
    campaign.print_table()
    if campaign.faults:
        sys.exit("\n".join(campaign.faults))


main()
