#!/usr/bin/env bash
# tokenizers 0.22.2 and 0.23.3: added tokens of a tokenizer.json whose ids leave a gap are renumbered without a message. Seen,
# with a vocabulary of 3 and <x>, <y> at 10 and 20:
#   ids of "a<x><y>" [0, 3, 4] (a model trained on these files has [0, 10, 20]), text of [10, 20] "", <y> is saved as 4
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "tokenizers==$1"
    "$work/$1/bin/python" - <<'END'
import json
import tokenizers

def added(text, number):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, "special": True, **flags}

file = {"version": "1.0", "added_tokens": [added("<x>", 10), added("<y>", 20)],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}}
tokenizer = tokenizers.Tokenizer.from_str(json.dumps(file))
saved = json.loads(tokenizer.to_str())["added_tokens"]
print(tokenizers.__version__, tokenizer.encode("a<x><y>").ids, repr(tokenizer.decode([10, 20], skip_special_tokens=False)), saved[1]["id"])
END
}
seen=$(try 0.22.2; try 0.23.3)
echo "$seen"
[ "$seen" = "0.22.2 [0, 3, 4] '' 4
0.23.3 [0, 3, 4] '' 4" ]
