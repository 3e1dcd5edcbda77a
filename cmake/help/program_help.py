"""What a program's --help says, taken apart: usage, description, sections of options, of words and of text."""

import re
import subprocess
from dataclasses import dataclass, field


@dataclass
class Entry:
    names: list  # an option's spellings, ["-o", "--output"], or one word; a command's name
    value: str   # "FILE", "a|b|c", or nothing
    text: str = ""

    @property
    def is_option(self):
        return self.names[0].startswith("-")

    @property
    def choices(self):
        found = self.value.split("|")
        return found if len(found) > 1 else []


@dataclass
class Section:
    title: str
    items: list = field(default_factory=list)  # Entry, or str: a line as it stands


@dataclass
class Help:
    name: str  # "lava-trace", "lava-trace info"
    usage: list
    description: list  # paragraphs
    sections: list
    version: str = ""

    def entries(self):
        return [item for section in self.sections for item in section.items if isinstance(item, Entry)]

    def options(self):
        return [entry for entry in self.entries() if entry.is_option]

    def commands(self):
        named = [section for section in self.sections if section.title.startswith("Commands")]
        return [entry for section in named for entry in section.items if isinstance(entry, Entry)]


option_line = re.compile(r"  (?:(-\w)(?:, | \[ ))?(--?[\w-]+)(?: \])?(?: (?!  )(\S(?:(?!  +).)*))?(?:\s{2,}(.*)|\s*)$")
word_line = re.compile(r"  (\S(?:(?!  ).)*?)\s{2,}(\S.*)$")
title_line = re.compile(r"[A-Z].*:$")


def entry_of(line):
    """The entry that begins on this line, or None"""
    if line.startswith("  -"):
        match = option_line.match(line)
        if match:
            short, long, value, text = match.groups()
            # Boost parts a long option from its text by one blank
            if value and not text and (parts := re.match(r"(\S+) (\S.*)", value)) and not value.startswith("("):
                value, text = parts.groups()
            return Entry([name for name in (short, long) if name], (value or "").strip("<>"), (text or "").strip())
    match = word_line.match(line)
    return Entry([match[1]], "", match[2].strip()) if match and not line.startswith("   ") else None


def section_items(lines):
    items = []
    for line in lines:
        entry = entry_of(line)
        if entry:
            items.append(entry)
        elif line.startswith("     ") and items and isinstance(items[-1], Entry):
            items[-1].text = f"{items[-1].text} {line.strip()}".strip()
        else:
            items.append(line)
    for item in items: # of a command, the arguments behind its name
        if isinstance(item, Entry) and not item.is_option and re.fullmatch(r"[a-z]+( .*[A-Z]+)", item.names[0]):
            name, item.value = item.names[0].split(" ", 1)
            item.names = [name]
    return items


def parse(name, text):
    lines = text.splitlines()
    if not lines or not lines[0].startswith(f"Usage: {name}"):
        raise SystemExit(f"{name} --help: expected 'Usage: {name}' first, found '{lines[0] if lines else ''}'")
    begin = 1
    while begin < len(lines) and lines[begin].startswith("  "):
        begin += 1
    usage = [line[len("Usage: "):] for line in lines[:begin]]
    titles = [at for at in range(begin, len(lines)) if title_line.match(lines[at]) and (at == 0 or not lines[at - 1])]
    first = titles[0] if titles else len(lines)
    description = [" ".join(block.split()) for block in "\n".join(lines[begin:first]).split("\n\n") if block.strip()]
    sections = []
    for at, end in zip(titles, titles[1:] + [len(lines)]):
        sections += blocks_of(lines[at].rstrip(":"), lines[at + 1:end])
    return Help(name, usage, description, sections)


def blocks_of(title, lines):
    """A titled section, and what stands behind it at the margin: text of its own"""
    end = next((at for at, line in enumerate(lines) if at and not lines[at - 1] and line and not line.startswith(" ")), len(lines))
    section = Section(title, section_items(strip(lines[:end])))
    return [section] + ([Section("", strip(lines[end:]))] if end < len(lines) else [])


def strip(lines):
    return "\n".join(lines).strip("\n").splitlines()


def read_help(program, *command):
    """Help of a program, or of one of its commands"""
    name = " ".join([program.rsplit("/", 1)[-1], *command])
    return parse(name, output_of(program, *command, "--help"))


def output_of(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: expected exit status 0, found {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def read_program(program):
    """A program's help and that of each of its commands"""
    whole = read_help(program)
    whole.version = output_of(program, "--version").split()[-1]
    commands = [read_help(program, entry.names[0]) for entry in whole.commands()]
    for command in commands:
        command.version = whole.version
    return whole, commands
