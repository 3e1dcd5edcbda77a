"""Record a lava trace (traces/FORMAT.md) of any transformers model, also of one that lava-capture's own decoder does not know.

    from lava_kv.capture import capture
    capture(model, prompt_ids, "trace.h5", tokenizer=tokenizer, steps=16)

or `python -m lava_kv.capture MODEL --prompt-file FILE -o trace.h5`, `python -m lava_kv.capture MODEL --prompts FILE.jsonl -o FOLDER`,
which `python capture/python/lava_capture.py` does, too; the options mean what they mean to lava-capture. Needs torch, transformers 5
(AttentionInterface), numpy and h5py.

The attention function is replaced by one that looks on: it sees queries and keys after the rotary embedding, whatever the
architecture. A model whose attention is no plain softmax of scaled products over all earlier tokens, or those of a sliding window, or
whose output a gate or norm changes before the output projection, is refused before anything is recorded. What a module does besides
(the residual stream, queries before the rotary embedding) is recorded where its parts have the usual names and is left out otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from . import jobs, model_folder
from .recorder import Recorder
from .trace import TraceWriter

STORES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


@torch.no_grad()
def capture(model: Any, prompt_ids: Iterable[int], path: str | os.PathLike[str], *, tokenizer: Any = None, steps: int = 16,
            reference: Sequence[int] | None = None, window: int = 64, chunk: int | None = None, store: str | None = None,
            spans: Iterable[tuple[str, int, int]] = (), name: str = "", tokenization: str = "", weights_sha256: str = "") -> list[int]:
    """Run `model` over `prompt_ids` (a sequence of ints), take `steps` greedy steps or feed the ids of `reference`, and
    write the trace to `path`.

    chunk   prompt tokens in a forward call; None: all
    store   "f32", "f16" or "bf16"; None: the model's dtype
    spans   named stretches of prompt tokens, (name, begin, end)

    Raises ValueError where the model's attention is not what a trace can hold.
    """
    prompt_ids = [int(i) for i in prompt_ids]
    if not prompt_ids:
        raise ValueError("the prompt is empty")
    steps = len(reference) if reference is not None else steps
    recorder = Recorder(model, len(prompt_ids), steps, window)
    recorder.try_out(prompt_ids)
    writer = TraceWriter(path, **recorder.shape, seq_len=len(prompt_ids), window=recorder.window, eval_len=steps,
                         vocab_size=recorder.vocab_size, store=store or STORES[model.dtype],
                         model=name or Path(model.config.name_or_path).name, config=model.config.to_json_string(),
                         device=str(model.device), dtype=str(model.dtype).removeprefix("torch."),
                         continuation="" if not steps else "reference" if reference is not None else "greedy",
                         tokenization=tokenization, weights_sha256=weights_sha256, attn_out_at=recorder.attn_out_at(),
                         generator="lava_capture.py")
    with writer, recorder.attached(writer):
        cache, size = recorder.new_cache(), chunk or len(prompt_ids)
        for begin in range(0, len(prompt_ids), size):
            logits = recorder.forward(prompt_ids[begin:begin + size], cache)
        next_id = int(logits[-1].argmax())
        eval_ids, logits = _evaluate(recorder, cache, logits, steps, reference)
        recorder.write_layers(writer)
        if tokenizer is not None:
            writer.set(prompt_texts=jobs.texts(tokenizer, prompt_ids))
            if steps:
                writer.set(eval_texts=jobs.texts(tokenizer, eval_ids))
        writer.set(prompt_ids=prompt_ids, eval_ids=eval_ids if steps else None, next_id=next_id, logits=logits, spans=spans)
    return eval_ids


def _evaluate(recorder, cache, logits, steps, reference):
    """The steps' inputs and their logits [T, V]; None without steps."""
    recorder.evaluating = True
    if not steps:
        return [], None
    if reference is not None:
        return list(reference), recorder.forward(list(reference), cache, all_logits=True)
    ids, rows = [], []
    for _ in range(steps):
        ids.append(int(logits[-1].argmax()))
        logits = recorder.forward(ids[-1:], cache)
        rows.append(logits[-1])
    return ids, torch.stack(rows)


def main():
    arguments = parse(sys.argv[1:])
    if not Path(arguments.model).is_dir():
        raise ValueError(f"{arguments.model}: expected the folder of a model, found none")
    todo = jobs.read_jobs(arguments)

    model_folder.refuse_pointers(arguments.model)
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    model_folder.read_config(arguments.model)
    tokenizer = None
    try:
        tokenizer = model_folder.read_tokenizer(arguments.model)
    except ValueError as error:
        if any(jobs.needs_tokenizer(job) for job in todo):
            raise
        print(f"lava_capture.py: note: the trace has no token texts: {error}", file=sys.stderr)
    prepared = [jobs.prepare(job, tokenizer) for job in todo]
    model, note = model_folder.load_model(arguments.model, arguments.dtype, arguments.device)
    if note:
        print(f"lava_capture.py: note: {note}", file=sys.stderr)
    for job in prepared:
        model_folder.check_ids(model, job, arguments.steps)
    run(model, tokenizer, prepared, arguments)


def parse(words):
    parser = argparse.ArgumentParser(description="Record a lava trace of a transformers model.")
    parser.add_argument("model", help="folder of the model")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", help="prompt text")
    source.add_argument("--prompt-file", help="file with the prompt text, UTF-8")
    source.add_argument("--ids", help="file with a JSON array of token ids")
    source.add_argument("--prompts", help="many prompts, a JSON object a line: prompt or ids, and chat, answer_prefix, reference, "
                                          "spans, id; a trace each and index.json in the folder -o; traces that are there are kept")
    parser.add_argument("--chat", action="store_true", help="put the text into the model's chat template, as the user's turn")
    parser.add_argument("--answer-prefix", default="", help="tokenized by itself and appended")
    parser.add_argument("--spans", help='file with [{"name", "begin", "end"}]: half-open characters of the prompt text')
    parser.add_argument("--continue", dest="steps", type=int, help="greedy steps after the prompt (default: 16)")
    parser.add_argument("--reference", help="text (or .json: token ids) that is fed after the prompt instead")
    parser.add_argument("--window", type=int, default=64, help="last query rows to record (default: 64)")
    parser.add_argument("--chunk", type=int, help="prompt tokens in a forward call (default: all)")
    parser.add_argument("--store", choices=["f32", "f16", "bf16"], help="default: the model's dtype")
    parser.add_argument("--dtype", default="auto", choices=["auto", *model_folder.STORED], help="default: the model's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", required=True, help="trace to write; with --prompts, the folder")
    arguments = parser.parse_args(words)
    for first, second in (("prompts", "chat"), ("prompts", "answer_prefix"), ("prompts", "spans"), ("prompts", "reference"),
                          ("ids", "chat"), ("ids", "spans"), ("steps", "reference")):
        if getattr(arguments, first) not in (None, False) and getattr(arguments, second) not in (None, False, ""):
            words = [f"--{name}".replace("steps", "continue").replace("_", "-") for name in (first, second)]
            parser.error(f"{words[0]} and {words[1]} contradict each other: give one")
    inputs = [arguments.prompt_file, arguments.ids, arguments.prompts, arguments.spans, arguments.reference,
              *Path(arguments.model).glob("*")]
    if os.path.exists(arguments.output):
        for path in (path for path in inputs if path is not None and os.path.exists(path)):
            if os.path.samefile(path, arguments.output):
                parser.error(f"{arguments.output}: would be written over {path}")
    if os.path.realpath(os.path.dirname(arguments.output) or ".") == os.path.realpath(arguments.model):
        parser.error(f"{arguments.output}: expected an output that is not in the model's folder")
    place = arguments.output if arguments.prompts is not None and os.path.isdir(arguments.output) else os.path.dirname(arguments.output)
    if not os.access(place or ".", os.W_OK | os.X_OK):
        parser.error(f"{arguments.output}: expected a folder {place or '.'} that can be written, found none")
    for name, least in (("steps", 0), ("window", 1), ("chunk", 1)):
        if getattr(arguments, name) is not None and getattr(arguments, name) < least:
            parser.error(f"--{name.replace('steps', 'continue')}: expected at least {least}, found {getattr(arguments, name)}")
    arguments.steps = 16 if arguments.steps is None else arguments.steps
    return arguments


def run(model, tokenizer, prepared, arguments):
    """Records each prompt; with --prompts into a folder with an index, traces of the same that are there already kept."""
    many = arguments.prompts is not None
    folder, entries, kept = Path(arguments.output), [], 0
    common = {"store": arguments.store or STORES[model.dtype], "weights_sha256": jobs.weights_sha256(arguments.model),
              "name": Path(os.path.realpath(arguments.model)).name}
    if many:
        folder.mkdir(exist_ok=True)
    for job in prepared:
        path = folder / f"{job.id}.h5" if many else folder
        options = {**common, "window": arguments.window, "tokenization": job.tokenization, "spans": job.spans,
                   "reference": job.reference, "steps": arguments.steps}
        if many and jobs.is_recorded(path, job.ids, model, options):
            kept += 1
        else:
            try:
                capture(model, job.ids, path, tokenizer=tokenizer, chunk=arguments.chunk, **options)
            except ValueError as error:
                raise ValueError(f"{job.where}: {error}" if job.where else str(error)) from error
        if many:
            entries.append(jobs.entry(job.id, path))
            jobs.write_index(folder, common, entries, len(prepared))
    if many:
        print(f"{len(prepared)} traces in {folder}, {kept} of them kept from before; {folder / 'index.json'} lists them")


def run_main():
    """The command: an error is one sentence on stderr."""
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"lava_capture.py: {error}")


if __name__ == "__main__":
    run_main()
