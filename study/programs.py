"""The toolkit's programs, run one after another; what they refuse is one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"lava-prompts": "capture", "lava-capture": "capture", "lava-replay": "replay", "lava-analyze": "analysis"}


class Refusal(Exception):
    """What keeps a study from beginning or from its tables: one sentence, and the exit status."""

    def __init__(self, sentence, status=1):
        super().__init__(sentence)
        self.status = status


class Failure(Exception):
    """A program's own sentence, and its exit status; of one that a signal ended, minus the signal's number."""

    def __init__(self, sentence, status):
        super().__init__(sentence)
        self.status = status


class Run:
    """What a program printed and noted, and what it took."""

    def __init__(self, out, notes, peak_mb):
        self.out = out
        self.notes = notes  # lines of stderr
        self.peak_mb = peak_mb  # of resident memory


class Programs:
    """Those of a build folder."""

    def __init__(self, build):
        self.build = Path(build)
        self.child = None  # the process that runs now
        for name in PARTS:
            if not os.access(self.path(name), os.X_OK):
                raise Refusal(f"{self.path(name)}: no such program; ./lava build makes it")

    def path(self, name):
        return self.build / PARTS[name] / name

    def run(self, name, *arguments):
        """Raises Failure where the program does not end with 0."""
        words = [str(word) for word in (self.path(name), *arguments)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as self.child:
            said = []
            reader = threading.Thread(target=lambda: said.append(self.child.stderr.read()))
            reader.start()
            out = self.child.stdout.read().decode("utf-8", "replace")
            reader.join()
            _, status, usage = os.wait4(self.child.pid, 0)
            self.child.returncode = os.waitstatus_to_exitcode(status)
            status = self.child.returncode
        self.child = None
        notes = [line for line in said[0].decode("utf-8", "replace").splitlines() if line.strip()]
        if status != 0:
            raise Failure(sentence_of(name, status, notes), status)
        return Run(out, [line.removeprefix(f"{name}: ").removeprefix("note: ") for line in notes], usage.ru_maxrss // 1024)

    def stop(self):
        """Ends the process that runs now."""
        if self.child is not None and self.child.returncode is None:
            os.kill(self.child.pid, signal.SIGTERM)


def sentence_of(name, status, notes):
    if status < 0:
        return f"{name}: ended by the signal {signal.Signals(-status).name}"
    return notes[-1] if notes else f"{name}: ended with exit status {status}"
