"""Usage: check_tidy.py SOURCE_DIR BUILD_DIR [--seconds N] [FILE...]. Runs clang-tidy 14 with the list in .clang-tidy over FILEs, or over
the sources that were changed last, for at most N seconds (default: 300). BUILD_DIR holds a compile_commands.json of
single sources, as the preset dev makes. Exit status 77 where there is no clang-tidy 14."""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time


def find_tidy():
    for name in ("clang-tidy-14", "clang-tidy"):
        if shutil.which(name):
            said = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
            if "version 14." in said:
                return name
    print("skipped: no clang-tidy 14 on this machine")
    sys.exit(77)


def changed_last(source):
    """Paths of the repository, those of the newest commit first; none where there is no git or no repository."""
    command = ["git", "-c", "safe.directory=*", "-C", source, "log", "--first-parent", "-n", "300", "--name-only", "--format="]
    try:
        log = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return list(dict.fromkeys(log.split("\n")))


def commands_for_clang(build, folder):
    """The compile commands by file, as an argument list each: Clang reads the text of what GCC has precompiled."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    commands = {}
    for entry in entries:
        words = [word for word in shlex.split(entry["command"]) if word != "-Winvalid-pch"]
        for i, word in enumerate(words):
            if word.endswith("cmake_pch.hxx"):
                copy = os.path.join(folder, word.replace("/", "-"))
                if not os.path.exists(copy):
                    shutil.copy(word, copy)
                words[i] = copy
        commands[os.path.realpath(entry["file"])] = {"directory": entry["directory"], "file": entry["file"], "arguments": words}
    return commands


def sources_of(names, source, commands):
    """The compiled ones among the named files, each header's own source in its place."""
    found = {}
    for name in names:
        path = os.path.realpath(os.path.join(source, re.sub(r"\.h$", ".cpp", name)))
        if path in commands:
            found[path] = None
    return list(found)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("source")
    parser.add_argument("build")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("files", nargs="*")
    options = parser.parse_intermixed_args()
    source = os.path.abspath(options.source)
    tidy = find_tidy()
    names = [os.path.abspath(name) for name in options.files]
    with tempfile.TemporaryDirectory() as folder:
        commands = commands_for_clang(os.path.abspath(options.build), folder)
        sources = sources_of(names or changed_last(source), source, commands) or ([] if names else sorted(commands))
        if not sources:
            sys.exit("check_tidy.py: expected sources that the build compiles, found none")
        with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as file:
            json.dump(list(commands.values()), file)

        end = time.monotonic() + options.seconds

        def check(path):
            if time.monotonic() > end:
                return None
            return subprocess.run([tidy, "--quiet", "-p", folder, f"--config-file={source}/.clang-tidy", path],
                                  capture_output=True, text=True)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = [result for result in pool.map(check, sources) if result]
    print(f"clang-tidy: {len(results)} of {len(sources)} sources, those changed last first")
    faulty = [result.stdout + result.stderr for result in results if result.returncode != 0]
    if faulty:
        sys.exit("\n".join(faulty))


main()
