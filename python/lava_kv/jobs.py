"""The prompts of lava_capture.py: what lava-capture's options --prompt, --ids, --prompts, --chat, --answer-prefix, --spans and
--reference mean, over a transformers tokenizer."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

from .trace import read_trace

KEYS = ("prompt", "ids", "chat", "answer_prefix", "reference", "spans", "id")
SCORING = {  # key: (whether a value fits, what is expected)
    "all_classes": (lambda value: value is None or _is_texts(value), "null or a list of at least one string"),
    "answers": (lambda value: _is_texts(value), "a list of at least one string"),
    "benchmark": (lambda value: _is_text(value), "a string"),
    "chat_template": (lambda value: isinstance(value, bool), "true or false"),
    "max_length": (lambda value: value is None or _is_count(value), "null or a number of tokens"),
    "max_new_tokens": (lambda value: _is_count(value), "a number of tokens"),
    "metric": (lambda value: _is_text(value), "a string"),
    "record": (lambda value: isinstance(value, dict), "an object"),
    "stop": (lambda value: isinstance(value, dict), "an object"),
    "task": (lambda value: _is_text(value), "a string"),
    "uncut_tokens": (lambda value: value is None or _is_count(value), "null or a number of tokens"),
    "variant": (lambda value: _is_text(value), "a string"),
}
FILE_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def read_jobs(arguments):
    """What is to be recorded; ValueError naming file, line and key where something does not fit."""
    if arguments.prompts is not None:
        return _jobs_of(arguments.prompts)
    job = SimpleNamespace(where="", id="", text=None, ids=None, chat=arguments.chat, answer_prefix=arguments.answer_prefix,
                          reference=None, spans=[], scoring=None)
    if arguments.ids is not None:
        job.ids = _ids_of(_read_json(arguments.ids), arguments.ids)
    else:
        job.text = arguments.prompt if arguments.prompt is not None else _read_text(arguments.prompt_file)
    if arguments.spans is not None:
        job.spans = spans_of(_read_json(arguments.spans), arguments.spans)
    if arguments.reference is not None:
        is_json = Path(arguments.reference).suffix == ".json"
        job.reference = _ids_of(_read_json(arguments.reference), arguments.reference) if is_json else _read_text(arguments.reference)
    return [job]


def needs_tokenizer(job):
    return job.ids is None or bool(job.answer_prefix) or isinstance(job.reference, str)


def prepare(job, tokenizer):
    """The job as token ids: `ids`, `spans` in tokens, `reference`, `tokenization`."""
    where = f"{job.where}: " if job.where else ""
    prefix = tokenizer.encode(job.answer_prefix, add_special_tokens=False) if job.answer_prefix else []
    spans, reference = [], job.reference
    if job.ids is not None:
        ids = list(job.ids)
        spans = [_in_ids(span, len(ids), where) for span in job.spans]
    elif not job.text:
        raise ValueError(f"{where}the prompt is empty")
    else:
        ids, spans = _encode(tokenizer, job, where)
    if isinstance(reference, str):
        reference = tokenizer.encode(reference, add_special_tokens=False)
        if not reference:
            raise ValueError(f"{where}reference: expected a text, found one without tokens")
    said = {"answer_prefix": job.answer_prefix, "chat": job.chat, "source": "text" if job.ids is None else "ids"}
    if job.scoring:
        said["scoring"] = job.scoring
    return SimpleNamespace(where=job.where, id=job.id, ids=ids + prefix, spans=spans, reference=reference,
                           tokenization=json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True))


def texts(tokenizer, ids):
    """Each token's text, decoded alone: a part of a character shows as U+FFFD."""
    return [tokenizer.decode([i]) for i in ids]


def weights_sha256(folder):
    """SHA-256 of the folder's one safetensors file, or what `sha256sum *.safetensors | sha256sum` prints; empty where there is none."""
    digests = []
    for file in sorted(Path(folder).glob("*.safetensors")):
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        digests.append((digest.hexdigest(), file.name))
    if len(digests) < 2:
        return digests[0][0] if digests else ""
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in digests).encode()).hexdigest()


def is_recorded(path, ids, model, options):
    """Whether the trace that is there is the one that would be recorded."""
    try:
        with read_trace(path) as trace:
            info = trace.info
            reference = options["reference"]
            steps = options["steps"] if reference is None else len(reference)
            expected = {"weights_sha256": options["weights_sha256"], "tokenization": options["tokenization"],
                        "config": model.config.to_json_string(), "dtype": str(model.dtype).removeprefix("torch."),
                        "window": min(options["window"], len(ids)), "eval_len": steps, "generator": "lava_capture.py",
                        "continuation": "" if not steps else "greedy" if reference is None else "reference"}
            return all(info.get(key) == value for key, value in expected.items()) \
                and info["prompt_ids"] is not None and info["prompt_ids"].tolist() == list(ids) \
                and info["spans"] == list(options["spans"]) and trace.stored_type("k") == options["store"] \
                and (reference is None or info["eval_ids"].tolist() == list(reference)) and all(len(layer["k"]) for layer in trace.layers)
    except (OSError, ValueError, KeyError):
        return False


def entry(name, path):
    with read_trace(path) as trace:
        info = trace.info
        spans = [{"name": name, "begin": begin, "end": end} for name, begin, end in info["spans"]]
        text = b"".join(info["eval_texts"] or ()).decode("utf-8", "replace")
        scoring = _parsed(info["tokenization"] or "{}", f"{path}: tokenization", "JSON").get("scoring")
        return {"id": name, "trace": Path(path).name, "seq_len": info["seq_len"], "window": info["window"],
                "eval_len": info["eval_len"], "continuation_source": info["continuation"], "continuation": text, "spans": spans, **({"scoring": scoring} if scoring else {})}


def write_index(folder, common, entries, total):
    index = {"format": "lava-index", "generator": "lava_capture.py", "model": common["name"],
             "weights_sha256": common["weights_sha256"], "prompts": total, "traces": entries}
    descriptor, part = tempfile.mkstemp(".part", ".index.json.", folder)  # no other process has it
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(stream.fileno(), 0o666 & ~mask)  # mkstemp makes its files readable for their owner alone
        stream.write(json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    os.replace(part, folder / "index.json")


def _encode(tokenizer, job, where):
    """ids, and the spans in tokens: a token belongs to a span if it overlaps it."""
    def rendered(content):
        return tokenizer.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)

    text = rendered(job.text) if job.chat else job.text
    if not job.spans:
        return tokenizer.encode(text, add_special_tokens=not job.chat), []
    if not tokenizer.is_fast:
        raise ValueError(f"{where}spans: expected a tokenizer that says where its tokens lie, found {type(tokenizer).__name__}")
    encoded = tokenizer(text, add_special_tokens=not job.chat, return_offsets_mapping=True)
    ranges, end_before = [], 0
    for begin, end in encoded["offset_mapping"]:  # some leave out the space in front, which is a part of the token
        if begin < end:
            begin, end_before = min(begin, end_before), max(end, end_before)
        ranges.append((begin, end))
    spans = []
    for name, begin, end in job.spans:
        if not 0 <= begin < end <= len(job.text):
            raise ValueError(f"{where}span {name}: expected 0 <= begin < end <= {len(job.text)} characters of the prompt, found {begin}..{end}")
        if job.chat:
            begin, end = _in_chat(rendered, job.text, text, begin, end, f"{where}span {name}")
        spans.append(_in_tokens(name, begin, end, ranges, where))
    return list(encoded["input_ids"]), spans


def _in_chat(rendered, text, whole, begin, end, where):
    """Where text[begin:end] stands in `whole`, which the chat template makes of the text, without white space at its ends that the
    template takes off. As lava-capture does it, its first and its last character are replaced by a mark, one at a time: that mark has
    to be in the rendering once, and all else has to be as it was."""
    mark = next(c for c in map(chr, range(0xE000, 0xF8FF)) if c not in text and c not in whole)

    def found(at):
        other = rendered(text[:at] + mark + text[at + 1:])
        return other.find(mark) if other.count(mark) == 1 and other.replace(mark, text[at]) == whole else -1

    own = text[begin:end]
    left, right = len(own) - len(own.lstrip()), len(own) - len(own.rstrip())
    for before, behind in ((0, 0), (left, 0), (0, right), (left, right)):
        if before + behind < len(own):
            core = text[begin + before:end - behind]
            first, last = found(begin + before), found(end - behind - 1)
            if 0 <= first <= last and whole[first:last + 1] == core:
                return first, last + 1
    raise ValueError(f"{where}: expected its text as it is, and once, in what the chat template makes of the prompt, found it changed, left "
                     "out or repeated")


def _in_tokens(name, begin, end, ranges, where):
    inside = [i for i, (first, last) in enumerate(ranges) if first < last and first < end and last > begin]
    if not inside:
        raise ValueError(f"{where}span {name}: expected at least one token of the prompt in it, found none")
    return name, inside[0], inside[-1] + 1


def _jobs_of(file):
    jobs, lines = [], {}
    for number, text in enumerate(_read_text(file).split("\n"), 1):
        if not text.strip(" \t\r"):
            continue
        where = f"{file}: line {number}"
        jobs.append(_job_of(_parsed(text, where, "a JSON object"), number, where))
        if jobs[-1].id in lines:
            raise ValueError(f"{where}: id {jobs[-1].id}: line {lines[jobs[-1].id]} has it, too")
        lines[jobs[-1].id] = number
    if not jobs:
        raise ValueError(f"{file}: expected a JSON object a line, found none")
    return jobs


def _job_of(line, number, where):
    if not isinstance(line, dict):
        raise ValueError(f"{where}: expected a JSON object, found {_kind(line)}")
    for key in line:
        if key not in KEYS and key not in SCORING:
            raise ValueError(f"{where}: unknown key {json.dumps(key)}: expected prompt, ids, chat, answer_prefix, reference, spans or id, "
                             "or what the answer is scored by (task, answers, all_classes, max_new_tokens, metric, stop)")
    if ("prompt" in line) == ("ids" in line):
        raise ValueError(f"{where}: expected prompt or ids, found {'both' if 'ids' in line else 'neither'}")
    if "ids" in line and "chat" in line:
        raise ValueError(f"{where}: ids and chat contradict each other: give one")
    if not isinstance(line.get("chat", False), bool):
        raise ValueError(f"{where}: chat: expected true or false, found {json.dumps(line['chat'])[:40]}")
    reference = line.get("reference")
    if isinstance(reference, list):
        reference = _ids_of(reference, f"{where}: reference")
    elif "reference" in line and not _text_at(line, "reference", where):
        raise ValueError(f"{where}: reference: expected a text or token ids, found an empty one")
    return SimpleNamespace(where=where, id=_id_at(line, number, where), text=_text_at(line, "prompt", where) if "prompt" in line else None,
                           ids=_ids_of(line["ids"], f"{where}: ids") if "ids" in line else None, chat=line.get("chat", False),
                           answer_prefix=_text_at(line, "answer_prefix", where) if "answer_prefix" in line else "",
                           reference=reference, spans=spans_of(line["spans"], f"{where}: spans") if "spans" in line else [],
                           scoring=_scoring_of(line, where))


def _scoring_of(line, where):
    """What the answer is scored by; None where the line does not say."""
    for key in sorted(SCORING.keys() & line.keys()):
        fits, expected = SCORING[key]
        if not fits(line[key]):
            raise ValueError(f"{where}: {key}: expected {expected}, found {json.dumps(line[key])[:40]}")
    return {key: line[key] for key in sorted(SCORING.keys() & line.keys())} or None


def _is_text(value):
    return isinstance(value, str) and value != ""


def _is_texts(value):
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100_000_000


def _in_ids(span, tokens, where):
    name, begin, end = span
    if not 0 <= begin < end <= tokens:
        raise ValueError(f"{where}span {name}: expected 0 <= begin < end <= {tokens} tokens of the prompt, found {begin}..{end}")
    return span


def _id_at(line, number, where):
    """The trace's name: a file name that needs no quoting and stays in its folder."""
    if "id" not in line:
        return f"{number:05d}"
    is_number = isinstance(line["id"], int) and not isinstance(line["id"], bool)
    name = str(line["id"]) if is_number else _text_at(line, "id", where)
    if not name or len(name) > 200 or name[0] in ".-" or not set(name) <= FILE_NAME:
        raise ValueError(f"{where}: id: expected letters, digits, '.', '_' and '-', found {json.dumps(name)[:80]}")
    return name


def _text_at(line, key, where):
    if not isinstance(line[key], str):
        raise ValueError(f"{where}: {key}: expected a string, found {json.dumps(line[key])[:40]}")
    return line[key]


def _ids_of(values, where):
    if not isinstance(values, list) or not values:
        raise ValueError(f"{where}: expected a JSON array of token ids, found {'an empty one' if values == [] else _kind(values)}")
    for index, value in enumerate(values):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2 ** 31:
            raise ValueError(f"{where}: element {index}: expected a token id, found {json.dumps(value)[:40]}")
    return values


def spans_of(values, where):
    expected = f'{where}: expected [{{"name": ..., "begin": ..., "end": ...}}, ...], found '
    if not isinstance(values, list):
        raise ValueError(expected + _kind(values))
    spans = []
    for value in values:
        fits = isinstance(value, dict) and set(value) == {"name", "begin", "end"} and isinstance(value["name"], str) and value["name"] \
            and all(isinstance(value[key], int) and not isinstance(value[key], bool) for key in ("begin", "end"))
        if not fits:
            raise ValueError(expected + json.dumps(value)[:80])
        if value["name"] in (name for name, _, _ in spans):
            raise ValueError(f"{where}: span {value['name']} is given twice")
        spans.append((value["name"], value["begin"], value["end"]))
    return spans


def _read_text(file):
    try:
        text = Path(file).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected UTF-8, found {error.reason} at byte {error.start}") from None
    except OSError:
        raise ValueError(f"{file}: cannot be read") from None
    if not text:
        raise ValueError(f"{file}: is empty")
    return text


def _read_json(file):
    return _parsed(_read_text(file), file, "JSON")


def _parsed(text, where, expected):
    try:
        return json.loads(text)
    except RecursionError:  # beyond Python's own limit, which is not below the programs'
        raise ValueError(f"{where}: JSON nested deeper than 200 levels") from None
    except ValueError:
        raise ValueError(f"{where}: expected {expected}, found something else") from None


def _kind(value):
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
