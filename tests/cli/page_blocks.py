"""The code blocks of a page that a test runs.

page_blocks.py split PAGE FOLDER: its sh blocks as FOLDER/commands.sh, which say on stdout where each begins, its python
blocks as FOLDER/program.py.
page_blocks.py compare PAGE PRINTED: the lines that the page shows in a block right behind an sh block, one after the other,
are among those that the block printed. Numbers may differ by a hundredth, and below 1e-4, where they are rounding, by more:
processors differ in their last digits.
"""

import re
import sys

MARK = "--- block"


def blocks_of(page):
    """(language, text, whether only a line end stands between it and the block before)"""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    blocks, end = [], None
    for match in re.finditer(r"^```(\w*)\n(.*?)^```\n", text, re.MULTILINE | re.DOTALL):
        blocks.append((match[1], match[2], match.start() == end))
        end = match.end()
    return blocks


def split(page, folder):
    commands, program, count = "", "", 0
    for language, text, _ in blocks_of(page):
        if language == "sh":
            commands += f"{{ echo '{MARK} {count}'; }} 2>/dev/null\n{text}"
            count += 1
        elif language == "python":
            program += text
    if not commands:
        sys.exit(f"{page}: expected ```sh blocks, found none")
    for name, text in (("commands.sh", commands), ("program.py", program)):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def number(word):
    try:
        return float(word)
    except ValueError:
        return None


def is_same(shown, printed):
    a, b = number(shown), number(printed)
    if a is None or b is None:
        return shown == printed
    return abs(a - b) <= 0.01 * max(abs(a), abs(b)) or max(abs(a), abs(b)) < 1e-4


def is_same_line(shown, printed):
    a, b = shown.split(), printed.split()
    return len(a) == len(b) and all(map(is_same, a, b))


def contains(printed, shown):
    return any(all(map(is_same_line, shown, printed[first:first + len(shown)]))
               for first in range(len(printed) - len(shown) + 1))


def compare(page, printed_file):
    with open(printed_file, encoding="utf-8") as file:
        printed = re.split(rf"^{MARK} \d+\n", file.read(), flags=re.MULTILINE)[1:]
    count, faults, before = -1, [], ""
    for language, text, is_next in blocks_of(page):
        count += language == "sh"
        if language == "" and is_next and before == "sh" and not contains(printed[count].splitlines(), text.splitlines()):
            faults.append(f"{page}: expected the output of this page's commands to be shown as it is printed:\n{printed[count]}found:\n{text}")
        before = language
    if faults:
        sys.exit("\n".join(faults))


if sys.argv[1] == "split":
    split(sys.argv[2], sys.argv[3])
else:
    compare(sys.argv[2], sys.argv[3])
