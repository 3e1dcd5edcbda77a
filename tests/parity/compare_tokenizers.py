#!/usr/bin/env python3
"""Builds tokenizers of every kind with the tokenizers library, and compares ids, byte ranges and decoded text of ours with its
own on random text. Usage: compare_tokenizers.py MODEL_FOLDER [lava-dump-tokens]; MODEL_FOLDER is one more that is compared.
Needs tokenizers and transformers."""

import json
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parents[2]
TEXTS = 600

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
          r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"
            r"|\s+(?!\S)|\s+")


def corpus():
    """A book, and letters of many scripts so that there is something to merge."""
    texts = [(ROOT / "data" / "pocahontas.txt").read_text(encoding="utf-8")[:150000]]
    generator = random.Random(1)
    for _ in range(400):
        texts.append(" ".join("".join(random_text(generator, 3)) for _ in range(5)))
    return texts


def random_text(generator, pieces):
    """Words, white space of all kinds, digits, scripts, combining marks, emoji, added tokens."""
    alphabets = [
        "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " ", "  \t\n\r\u000b\u000c\u0085\u00a0\u180e\u2003\u2028\u3000",
        "'sStTrReEvVmMlLdD\u2019\u017f", "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~", "éèüößñçøåæ", "e\u0301o\u0308a\u030au\u0304\u0323n\u0303",
        "\u0627\u0644\u0633\u064e\u0651\u0645", "\u05e9\u05c1\u05bc\u05d0", "\u0928\u092e\u0938\u094d\u0924\u0947\u095c", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
        "\uac00\ub098\u1112\u1161\u11ab\u1100\u1161", "\u4f60\u597d\u4e16\u754c\u3042\u30ab", "\u00bd\u2167\u0663\u06f5\u2460\u4e00\u3007", "\U0001f600\U0001f468\u200d\U0001f469\ufe0f\U0001f1e9\U0001f1ea",
        "\ufb01\u212b\u2126\u1e9b\u0323\u00b5\u01c5\u0130", "\u0000\u0001\u007f\u0091\ufeff\u200b\ufffd", "\u2581", "\u0120\u010a\u00c4\u0142"]
    for _ in range(generator.randint(1, pieces)):
        kind = generator.random()
        if kind < 0.06:
            yield generator.choice(["<s>", "</s>", "<unk>", "<|end|>", "<|im_start|>", "<wide>", "<word>", " <wide>  ", "a<word>", "plain", "<plain>>", "<0x0A>"])
        elif kind < 0.1:
            yield " " * generator.randint(1, 6)
        elif kind < 0.14:
            character = chr(generator.randrange(0x110000))
            # PCRE2 may know an older Unicode than the library: characters that are new in one would differ
            yield character if unicodedata.category(character) not in ("Cn", "Cs") else "\n"
        elif kind < 0.4:
            yield generator.choice([" the", " of", "ing", " Pocahontas", "Captain", " 1607", "'s", "'LL", "\n\n", "don't", " \n", "...\n"])
        else:
            alphabet = generator.choice(alphabets)
            yield "".join(generator.choice(alphabet) for _ in range(generator.randint(1, 5)))


def added_tokens():
    return [AddedToken("<|end|>", special=True, normalized=False), AddedToken("<|im_start|>", special=True, normalized=False),
            AddedToken("<wide>", lstrip=True, rstrip=True, normalized=False), AddedToken("<word>", single_word=True, normalized=False),
            AddedToken("plain", normalized=True, single_word=True), AddedToken("<plain>>", normalized=True, rstrip=True)]


def byte_level(texts, pre_tokenizer, normalizer=None, ignore_merges=False, bos=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=3000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                             special_tokens=["<s>"], show_progress=False))
    tokenizer.add_tokens(added_tokens())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        tokenizer.post_processor = processors.Sequence([tokenizer.post_processor, processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])])
    return tokenizer


def split(pattern, **options):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, **options)])


def sentencepiece(texts, normalizer, pre_tokenizer, decoder, fuse_unk=True):
    """A tokenizer like Llama 2's: characters, a visible space, bytes for what is missing."""
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=fuse_unk))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")  # words, for training only
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=3000, special_tokens=special, limit_alphabet=300, show_progress=False))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.add_tokens(added_tokens())
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def characters(texts):
    """BPE of characters, with an unknown token and no bytes to fall back to."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1000, special_tokens=["<unk>"], limit_alphabet=100, show_progress=False))
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer


def kinds(texts):
    llama2_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    yield "gpt2", byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=False))
    yield "gpt2 with prefix space", byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=True))
    yield "llama 3", byte_level(texts, split(LLAMA3), ignore_merges=True, bos=True)
    yield "qwen2", byte_level(texts, split(QWEN2), normalizers.NFC())
    yield "tekken", byte_level(texts, split(TEKKEN), ignore_merges=True, bos=True)
    for individual in (True, False):
        yield f"digits {individual}", byte_level(texts, pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=individual), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    yield "splits in sequence", byte_level(texts, pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"), pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(DEEPSEEK), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"split {behavior} {invert}", byte_level(texts, pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(r"\s|\w{2}|\p{Han}"), behavior, invert), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    for name in ("NFD", "NFKC", "NFKD"):
        yield name, byte_level(texts, pre_tokenizers.ByteLevel(add_prefix_space=False), getattr(normalizers, name)())
    yield "llama 2", sentencepiece(texts, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, llama2_decoder)
    for scheme in ("always", "first", "never"):
        yield f"metaspace {scheme}", sentencepiece(texts, None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False), llama2_decoder)
    yield "metaspace split", sentencepiece(texts, normalizers.Replace(Regex(" {2,}"), "▁"), pre_tokenizers.Metaspace(prepend_scheme="first"),
                                           decoders.Metaspace(prepend_scheme="first"), fuse_unk=False)
    yield "characters", characters(texts)


def ours(program, folder, texts):
    result = subprocess.run([program, folder], input=json.dumps(texts), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout)


def compare(name, program, folder, texts):
    """The number of texts that differ; the first of them is shown."""
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_truncation()
    wrong = refused = 0
    for text, found in zip(texts, ours(program, folder, texts)):
        encoding = tokenizer.encode(text, add_special_tokens=False)
        if "no token for" in found.get("error", "") and tokenizer.decode(encoding.ids, skip_special_tokens=False) != text:
            refused += 1  # the library drops silently what the vocabulary lacks; we do not
            continue
        expected = {"ids": encoding.ids, "ids_with_special_tokens": tokenizer.encode(text).ids}
        actual = {key: found.get(key, found) for key in expected}
        decoded = bytes(byte % 256 for byte in found.get("decoded", []))
        try:
            actual["decoded"] = decoded.decode("utf-8")
            expected["decoded"] = tokenizer.decode(encoding.ids)
        except UnicodeDecodeError:  # not text; the library puts replacement characters there
            pass
        if actual != expected:
            wrong += 1
            if wrong == 1:
                print(f"{name}: {text!r}\n  expected {expected}\n  found    {actual}")
    print(f"{name}: {len(texts) - wrong - refused} of {len(texts)} texts alike" + (f", {refused} refused" if refused else ""))
    return wrong


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare_tokenizers.py MODEL_FOLDER [lava-dump-tokens]")
    program = sys.argv[2] if len(sys.argv) == 3 else ROOT / "build" / "release" / "tests" / "model" / "lava-dump-tokens"
    generator = random.Random(7)
    texts = [""] + ["".join(random_text(generator, 12)) for _ in range(TEXTS)]
    wrong = compare(Path(sys.argv[1]).name, program, sys.argv[1], texts)
    for name, tokenizer in kinds(corpus()):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(str(Path(folder) / "tokenizer.json"))
            wrong += compare(name, program, folder, texts)
    sys.exit(0 if wrong == 0 else 1)


if __name__ == "__main__":
    main()
