#!/usr/bin/env bash
# tokenizers 0.22.2 and 0.23.3 (Oniguruma): where case is ignored, ss matches the one letter ß, also across a group that
# captures nothing, but not across one that captures: parentheses that only group change what a Split pattern matches. Seen:
#   (?i:ss) matches ß, (?i:s(?:s)) matches ß, (?i:s(s)) does not; all of them match SS
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "tokenizers==$1"
    "$work/$1/bin/python" - <<'END'
import tokenizers
from tokenizers import Regex, pre_tokenizers

for pattern in ("(?i:ss)", "(?i:s(?:s))", "(?i:s(s))"):
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    print(tokenizers.__version__, pattern, *(text for text in ("SS", "ß") if split.pre_tokenize_str(text)))
END
}
seen=$(try 0.22.2; try 0.23.3)
echo "$seen"
[ "$seen" = "0.22.2 (?i:ss) SS ß
0.22.2 (?i:s(?:s)) SS ß
0.22.2 (?i:s(s)) SS
0.23.3 (?i:ss) SS ß
0.23.3 (?i:s(?:s)) SS ß
0.23.3 (?i:s(s)) SS" ]
