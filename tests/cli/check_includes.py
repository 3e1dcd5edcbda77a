"""Usage: check_includes.py SOURCE_DIR. Folders include only what docs/architecture.md lets them use, and no header includes itself by
way of others."""

import os
import re
import sys

MAY_USE = {
    "base": set(),
    "compute": {"base"},
    "traces": {"base"},
    "model": {"base", "compute", "traces"},
    "capture": {"base", "compute", "model", "traces"},
    "analysis": {"base", "traces"},
    "replay": {"analysis", "base", "compute", "model", "traces"},
    "gui": {"analysis", "base", "traces"},
}
KINDS = (".h", ".cpp", ".cu", ".cuh")
source = os.path.abspath(sys.argv[1])


def includes():
    found = {}
    for folder in MAY_USE:
        for parent, _, files in os.walk(os.path.join(source, folder)):
            for name in files:
                if name.endswith(KINDS):
                    path = os.path.relpath(os.path.join(parent, name), source)
                    with open(os.path.join(source, path), encoding="utf-8") as file:
                        found[path] = re.findall(r'^#include "([^"]+)"', file.read(), re.MULTILINE)
    return found


def way_back(start, found):
    """The headers from `start` to itself; empty where there is no way."""
    seen, ways = set(), [[start]]
    while ways:
        way = ways.pop()
        for header in found.get(way[-1], []):
            if header == start:
                return [*way, header]
            if header not in seen:
                seen.add(header)
                ways.append([*way, header])
    return []


found = includes()
faults = []
for path, headers in sorted(found.items()):
    folder = path.split("/")[0]
    for header in headers:
        if header not in found:
            faults.append(f"{path}: expected a header of these folders, named from the root, found {header}")
        elif header.split("/")[0] not in MAY_USE[folder] | {folder}:
            faults.append(f"{path}: expected headers of {', '.join(sorted(MAY_USE[folder] | {folder}))}, found {header}")
    if path.endswith(".h") and (way := way_back(path, found)):
        faults.append(f"{path}: expected no way back, found {' -> '.join(way)}")
if faults:
    sys.exit("\n".join(faults))
