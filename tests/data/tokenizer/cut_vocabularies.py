#!/usr/bin/env python3
"""Cuts a vocabulary down to the tokens that occur in llama.cpp's test texts, as a tokenizer.json: merges that build anything else
can never happen there, so that the ids of these texts stay what they are.
Usage: cut_vocabularies.py FOLDER OUTPUT [--whole]. FOLDER holds vocab.json and merges.txt (GPT-2, Qwen2), or tokenizer.model (Llama 2).
--whole cuts nothing."""

import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def test_texts():
    return (HERE / "llama_cpp_tests.txt").read_bytes().decode("utf-8").split("\n__ggml_vocab_test__\n")[:-1]


def stand_ins():
    """GPT-2's printable character of each byte."""
    visible = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def byte_level(folder, occurs):
    characters = stand_ins()
    haystack = "\n".join("".join(characters[byte] for byte in text.encode()) for text in test_texts())
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocab = {token: id for token, id in vocab.items() if len(token) == 1 or occurs(token, haystack)}
    merges = [line for line in (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
              if line.count(" ") == 1 and not line.startswith("#version") and line.replace(" ", "") in vocab]
    qwen2 = len(merges) > 0 and json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "Qwen2Tokenizer"
    words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not qwen2}
    if qwen2:
        split = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}
        words = {"type": "Sequence", "pretokenizers": [split, words]}
    return {"normalizer": {"type": "NFC"} if qwen2 else None, "pre_tokenizer": words, "post_processor": None, "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": vocab, "merges": merges}}


def fields(message):
    """(number, value) of a protobuf message."""
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    at = 0
    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, message[at:at + size]
            at += size


def sentencepiece(folder, occurs):
    """A tokenizer.json like Llama 2's own: pieces merge in the order of their scores."""
    pieces = [dict(fields(piece)) for number, piece in fields((folder / "tokenizer.model").read_bytes()) if number == 1]
    haystack = "\n".join("▁" + text.replace(" ", "▁") for text in test_texts())
    vocab = {}
    for id, piece in enumerate(pieces):
        token = piece[1].decode("utf-8")
        if piece.get(3, 1) != 1 or occurs(token, haystack):
            vocab[token] = id
    merges = []
    for token, id in vocab.items():
        if pieces[id].get(3, 1) == 1:
            splits = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in vocab and token[i:] in vocab]
            score = struct.unpack("<f", pieces[id][2])[0]
            merges += [(-score, vocab[left], vocab[right], [left, right]) for left, right in splits]
    merges.sort(key=lambda merge: merge[:3])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": id, "content": token, **flags} for token, id in vocab.items() if id < 3]
    return {"added_tokens": special, "pre_tokenizer": None,
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                               {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            "post_processor": {"type": "TemplateProcessing", "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
                               "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": []},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                                                         {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": vocab, "merges": [m[3] for m in merges]}}


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: cut_vocabularies.py FOLDER OUTPUT [--whole]")
    folder = Path(sys.argv[1])
    occurs = (lambda token, text: True) if sys.argv[3:] == ["--whole"] else (lambda token, text: token in text)
    cut = sentencepiece if (folder / "tokenizer.model").exists() else byte_level
    Path(sys.argv[2]).write_text(json.dumps(cut(folder, occurs), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
