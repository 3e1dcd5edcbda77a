#!/usr/bin/env python3
"""Compares what random patterns match in random texts: ours, through PCRE2, and the tokenizers library's, through Oniguruma. A
pattern may be refused; one that is taken has to match alike. Usage: compare_patterns.py [lava-dump-patterns]. Needs tokenizers."""

import json
import random
import subprocess
import sys
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

ROOT = Path(__file__).resolve().parents[2]
PATTERNS, TEXTS = 8000, 12

LITERALS = [*"aabbAsSkiı1 .-^${},]=é你ßſµ", "\n", r"\.", r"\n", r"\s", r"\S", r"\w", r"\W", r"\d", r"\D", r"\v", r"\t", r"\x41", r"\x{4f60}",
            r"\p{L}", r"\p{Lu}", r"\P{N}", r"\p{^L}", r"\p{Han}", r"\A", r"\z", r"\Z", r"\e", r"\-", r"\]"]
MEMBERS = [*"aabbAskı1 -^&:,=.$|(*éß", "&&", r"\n", r"\s", r"\S", r"\w", r"\d", r"\D", r"\v", r"\p{L}", r"\p{N}", r"\P{N}", r"\p{^L}",
           "a-c", "A-Z", "0-9", "à-ÿ", r"\x41", r"\]", r"\-", r"\[", "{2}"]
QUANTIFIERS = ["*", "+", "?", "{2}", "{,2}", "{1,}", "{1,2}", "{1}", "{,}", "{ 1}", "{1", "{0,1}"]
PIECES = [*"aaabbABsSkiKI1  .-^&{},=]éÉ你ßſµ½²_\n\n\t\v", "ss", "ﬆ", "{2}", "{,}", "\u0085", "\u00a0", "\u0130", "\u0131", "\u0301", "\u0345", "\u03bc",
          "\u180e", "\u200d", "\u2028", "\u212a", "\U0001f600"]


def alternatives(generator, depth):
    return "|".join(sequence(generator, depth) for _ in range(generator.choice([1, 1, 1, 2, 3])))


def sequence(generator, depth):
    return "".join(piece(generator, depth) for _ in range(generator.randint(0 if generator.random() < 0.15 else 1, 4)))


def piece(generator, depth):
    text = atom(generator, depth)
    if generator.random() < 0.4:
        text += generator.choice(QUANTIFIERS)
        if generator.random() < 0.3:
            text += generator.choice(["?", "+", "??"])
    return text + (generator.choice(["(?i)", "(?-i)"]) if generator.random() < 0.05 else "")


def atom(generator, depth):
    kind = generator.random() * (1 if depth > 0 else 0.75)
    if kind < 0.6:
        return generator.choice(LITERALS)
    if kind < 0.75:
        return "[" + generator.choice(["", "", "^"]) + "".join(generator.choice(MEMBERS) for _ in range(generator.randint(1, 4))) + "]"
    opening = generator.choice(["(", "(?:", "(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?-i:"])
    return opening + alternatives(generator, depth - 1) + ")"


def theirs(pattern, texts):
    """[begin, end) of the matches in bytes; None: the library refuses the pattern."""
    try:
        split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    except Exception:  # the library's own class is Exception
        return None
    result = []
    for text in texts:
        found = split.pre_tokenize_str(text) if text else []
        result.append([[len(text[:begin].encode()), len(text[:end].encode())] for _, (begin, end) in found])
    return result


def main():
    if len(sys.argv) > 2:
        sys.exit("usage: compare_patterns.py [lava-dump-patterns]")
    program = sys.argv[1] if len(sys.argv) == 2 else ROOT / "build" / "release" / "tests" / "model" / "lava-dump-patterns"
    generator = random.Random(4)
    entries = [{"pattern": alternatives(generator, 3),
                "texts": ["".join(generator.choice(PIECES) for _ in range(generator.randint(0, 14))) for _ in range(TEXTS)]}
               for _ in range(PATTERNS)]
    result = subprocess.run([program], input=json.dumps(entries), stdout=subprocess.PIPE, text=True, check=True)
    refused = alike = wrong = 0
    for entry, found in zip(entries, json.loads(result.stdout)):
        if isinstance(found, dict):
            refused += 1
            continue
        expected = theirs(entry["pattern"], entry["texts"])
        if expected is None or found == expected:  # a pattern that only we take has no other meaning
            alike += 1
            continue
        wrong += 1
        text, ours, right = next(row for row in zip(entry["texts"], found, expected) if row[1] != row[2])
        print(f"{entry['pattern']!r} in {text!r}\n  expected {right}\n  found    {ours}")
    print(f"patterns: {alike} of {alike + wrong} alike, {refused} refused")
    sys.exit(0 if wrong == 0 else 1)


if __name__ == "__main__":
    main()
