"""Where the toolkit's programs are, and how they are run.

A program is looked for in this order; the first that is there is taken:

1. what the caller names: the program, or a folder;
2. the folder (or program) that the environment variable LAVA_BIN names;
3. PATH;
4. the clone that this package was imported or installed from: its build/release; or bin/ of the prefix that it lies in.

A folder is one that holds the program (`bin` of an installation), or a build folder, which holds it as `replay/lava-replay`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .trace import _path

PARTS = {"lava-replay": "replay", "lava-analyze": "analysis"}  # a program: its folder within a build folder

StrPath = str | os.PathLike[str]


class ProgramError(RuntimeError):
    """A program of the toolkit ended with an error; the text is its own sentence.

    returncode   its exit status: 1 failure, 2 wrong usage; less than 0: minus the signal that ended it
    stderr       everything that it said on stderr
    """

    def __init__(self, message: str, returncode: int, stderr: str) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stderr = stderr


def find_program(name: str, place: StrPath | None = None) -> str:
    """The path of `name`, such as "lava-replay"; `place` is a folder to look in or the program itself, and no other then counts.

    Raises FileNotFoundError, naming the places looked at, and TypeError where `place` is no path.
    """
    place = None if place is None else _path("place", place)
    for given, said in ((place, str(place)), (os.environ.get("LAVA_BIN") or None, f"LAVA_BIN={os.environ.get('LAVA_BIN')}")):
        if given is not None:
            found = _at(name, Path(given))
            if found is None:
                raise FileNotFoundError(f"{said}: expected {name}, a folder with it or a build folder, found none")
            return found
    on_path = shutil.which(name)
    if on_path is not None:
        return on_path
    folders = _own_folders()
    for folder in folders:
        found = _at(name, folder)
        if found is not None:
            return found
    looked = "".join(f", nor in {folder}" for folder in folders)
    raise FileNotFoundError(f"{name}: not on PATH{looked}: build it (`./lava build` in a clone) and name its folder in LAVA_BIN")


def run_program(program: str, arguments: list[str]) -> str:
    """What it prints on stdout; what it notes on stderr goes to sys.stderr, an error becomes a ProgramError."""
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
                          check=False)
    lines = done.stderr.split("\n")
    said = [line for line in lines if line.strip()]
    if done.returncode != 0:
        name = os.path.basename(program)
        if done.returncode < 0:
            message = f"{name}: ended by the signal {signal.Signals(-done.returncode).name}"
        else:
            message = said[-1] if said else f"{name}: ended with exit status {done.returncode}"
        raise ProgramError(message, done.returncode, done.stderr)
    for line in said:
        print(line, file=sys.stderr)
    return done.stdout


def import_extra(module: str, use: str) -> ModuleType:
    """A package that is needed only here; ImportError, in one sentence, where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ImportError(f"{use} needs {module}, which is not installed: pip install {module}", name=module) from None


def _at(name: str, place: Path) -> str | None:
    """In a folder or a build folder, or beside another of the programs."""
    part = PARTS[name]
    if place.is_file():
        candidates = [place if place.name == name else place.with_name(name), place.parent.parent / part / name]
    else:
        candidates = [place / name, place / part / name, place.parent / part / name]
    return next((str(path) for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


def _own_folders() -> list[Path]:
    """The build folder of the clone, and bin/ of the prefix where this lies in share/lava/python."""
    parents = Path(__file__).resolve().parents
    folders = [clone / "build" / "release" for clone in (parents[1].parent, _installed_from()) if clone and (clone / "lava").is_file()]
    if len(parents) > 4 and parents[1].parts[-3:] == ("share", "lava", "python"):
        folders.append(parents[4] / "bin")
    return list(dict.fromkeys(folders))


def _installed_from() -> Path | None:
    """The folder that `pip install` was given, as pip notes it."""
    try:
        noted = metadata.distribution("lava-kv").read_text("direct_url.json")
        parts: Any = urlsplit(json.loads(noted)["url"]) if noted else None
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return None
    return Path(url2pathname(parts.path)) if parts is not None and parts.scheme == "file" else None
