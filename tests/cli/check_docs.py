"""Usage: check_docs.py SOURCE_DIR BUILD_DIR. What the documentation repeats is what it repeats: docs/policies.md holds the
tables that lava-replay prints, docs/adding-a-policy.md quotes its example as it is compiled, and no link leads nowhere."""

import glob
import os
import re
import subprocess
import sys

source, build = (os.path.abspath(folder) for folder in sys.argv[1:])
faults = []


def read(name):
    with open(os.path.join(source, name), encoding="utf-8") as file:
        return file.read()


def check_policies():
    command = "lava-replay --list-policies --format markdown"
    printed = subprocess.run([os.path.join(build, "replay", "lava-replay"), *command.split()[1:]], capture_output=True, text=True, check=True)
    page = read("docs/policies.md")
    begin, end = f"<!-- begin: {command} -->\n", "<!-- end -->\n"
    found = page[page.index(begin) + len(begin):page.index(end)]
    for expected, line in zip(printed.stdout.splitlines() + ["(end)"], found.splitlines() + ["(end)"]):
        if expected != line:
            faults.append(f"docs/policies.md: expected what {command} prints:\n  {expected}\nfound:\n  {line}")
            return


def check_quotes(page):
    """A code block behind a line that names a file, as `docs/examples/half_life.h`:, is that file."""
    quotes = re.findall(r"`(docs/examples/[^`]+)`:\n\n```cpp\n(.*?)```\n", read(page), re.DOTALL)
    names = [name for name, _ in quotes]
    for name in sorted(os.path.relpath(path, source) for path in glob.glob(os.path.join(source, "docs/examples/*"))):
        if name not in names:
            faults.append(f"{page}: expected a quotation of {name}, found none")
    for name, text in quotes:
        if text != read(name):
            faults.append(f"{page}: expected {name} as it is, found another text")


def check_links():
    pages = [path for pattern in ("*.md", "*/*.md", "*/*/*.md") for path in glob.glob(os.path.join(source, pattern))
             if not path.startswith((build, os.path.join(source, "build")))]
    for page in pages:
        with open(page, encoding="utf-8") as file:
            text = re.sub(r"```.*?```", "", file.read(), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            target = link.split("#")[0]
            if target and "://" not in target and not os.path.exists(os.path.join(os.path.dirname(page), target)):
                faults.append(f"{os.path.relpath(page, source)}: the link to {link} leads nowhere")


check_policies()
check_quotes("docs/adding-a-policy.md")
check_links()
if faults:
    sys.exit("\n".join(faults))
