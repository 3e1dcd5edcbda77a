"""Usage: check_includes.py SOURCE_DIR. Folders include and link only what docs/architecture.md lets them use, and no header includes
itself by way of others."""

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
    "bench": {"analysis", "base", "capture", "compute", "model", "replay", "traces"},
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


def targets_and_links():
    """Targets by the folder that makes them, and (CMakeLists.txt, target that it links)."""
    made, linked = {}, []
    for folder in MAY_USE:
        for parent, _, files in os.walk(os.path.join(source, folder)):
            if "CMakeLists.txt" not in files:
                continue
            path = os.path.relpath(os.path.join(parent, "CMakeLists.txt"), source)
            with open(os.path.join(source, path), encoding="utf-8") as file:
                text = re.sub(r"#.*", "", file.read())
            for target in re.findall(r"(?:add_library|add_executable|lava_cuda_library)\(\s*([\w-]+)", text):
                made[target] = folder
            for words in re.findall(r"target_link_libraries\(([^)]*)\)", text):
                linked += [(path, name) for name in words.split()[1:]]
    return made, linked


found = includes()
faults = []
made, linked = targets_and_links()
for path, name in linked:
    folder = path.split("/")[0]
    if made.get(name, folder) not in MAY_USE[folder] | {folder}:
        faults.append(f"{path}: expected links to {', '.join(sorted(MAY_USE[folder] | {folder}))}, found {name} of {made[name]}")
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
