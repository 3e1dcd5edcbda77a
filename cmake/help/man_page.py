"""A manual page (roff) from what --help says."""

import re

from program_help import Entry


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in text)
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def bold(text):
    return f"\\fB{escaped(text)}\\fR"


def entry_lines(entry):
    names = ", ".join(bold(name) for name in entry.names)
    value = f" \\fI{escaped(entry.value)}\\fR" if entry.value else ""
    return [".TP", names + value, escaped(entry.text)]


def section_lines(section):
    """Entries as tagged paragraphs; other text as it stands, since it may be a table or a command"""
    lines = [f'.SH "{escaped(section.title.upper())}"'] if section.title else [".PP"]
    literal = False
    for item in section.items:
        is_text = not isinstance(item, Entry)
        if is_text != literal:
            lines += [".PP", ".nf"] if is_text else [".fi"]
            literal = is_text
        lines += [escaped(item)] if is_text else entry_lines(item)
    return lines + ([".fi"] if literal else [])


def usage_lines(help):
    lines = [".SH SYNOPSIS", ".nf"]
    for line in help.usage:
        head, found, rest = line.partition(help.name)
        lines.append(escaped(head) + bold(help.name) + escaped(rest) if found and not head.strip() else escaped(line))
    return lines + [".fi"]


def file_name(name):
    return name.replace(" ", "-") + ".1"


def see_also(name, others):
    pages = [bold(other.replace(" ", "-")) + "(1)" for other in others if other != name]
    return [".SH SEE ALSO", ",\n".join(pages)]


def man_page(help, others):
    """The page of a program or command, which refers to others by their names"""
    page = help.name.replace(" ", "-")
    summary = re.split(r"(?<=[a-z\d])[.:] ", (help.description or ["?"])[0] + " ", maxsplit=1)[0].strip().rstrip(".")
    lines = [f'.TH "{page.upper()}" 1 "" "lava {help.version}" "KV-cache eviction"',
             ".nh", ".ad l", ".SH NAME", f"{escaped(page)} \\- {escaped(summary[0].lower() + summary[1:])}"]
    lines += usage_lines(help) + [".SH DESCRIPTION"]
    lines += [line for paragraph in help.description for line in (".PP", escaped(paragraph))]
    lines += [line for section in help.sections for line in section_lines(section)]
    lines += [".SH EXIT STATUS", "0: done; 1: failed; 2: wrong usage."]
    return "\n".join(lines + see_also(help.name, others)) + "\n"
