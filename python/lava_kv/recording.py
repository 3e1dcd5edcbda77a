"""Recording a transformers model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .programs import StrPath, import_extra
from .trace import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Span = tuple[str, int, int] | Mapping[str, Any]


def record(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, prompt: str | Sequence[int], path: StrPath, *,
           chat: bool = False, answer_prefix: str = "", spans: Iterable[Span] = (), steps: int = 16,
           reference: str | Sequence[int] | None = None, window: int = 64, chunk: int | None = None, store: str | None = None,
           name: str = "", weights: StrPath | None = None) -> Trace:
    """Run a transformers model over `prompt`, write what its attention sees to the trace `path`, and open that.

    model          a causal language model in evaluation mode, on any device
    tokenizer      its tokenizer; None only where `prompt` and `reference` are token ids: the trace then has no texts
    prompt         a text, or token ids
    chat           put the text into the model's chat template, as the user's turn
    answer_prefix  a text, tokenized by itself and appended to the prompt
    spans          stretches to be followed by name, (name, begin, end) or {"name", "begin", "end"}, half open: characters of a
                   text, tokens where `prompt` is ids
    steps          greedy steps after the prompt, on which losses are measured
    reference      what is fed after the prompt instead: a text or token ids
    window         last query rows of the prompt to record
    chunk          prompt tokens in a forward call; None: all at once
    store          "f32", "f16" or "bf16": how tensors are stored; None: the model's dtype
    name           the model's name in the trace; None: its configuration's
    weights        the folder that the model was loaded from: what its weights hash to goes into the trace, so that
                   replay(model=...) refuses another model

    The trace is written whole or not at all. Raises ImportError where torch or transformers is missing; ValueError, naming
    expected and found, where the model's attention is not one that a trace can hold, or an argument does not fit.
    """
    import_extra("torch", "record()")
    import_extra("transformers", "record()")
    from . import jobs
    from .capture import capture

    is_text = isinstance(prompt, str)
    named = [dict(span) if isinstance(span, Mapping) else dict(zip(("name", "begin", "end"), span)) for span in spans]
    checked = jobs.spans_of(named, "spans")
    job = SimpleNamespace(where="", id="", text=prompt if is_text else None, ids=None if is_text else [int(i) for i in prompt], chat=chat,
                          answer_prefix=answer_prefix, spans=checked if is_text else [], scoring=None,
                          reference=reference if reference is None or isinstance(reference, str) else [int(i) for i in reference])
    if chat and not is_text:
        raise ValueError("chat: expected a text as prompt, found token ids")
    if tokenizer is None and jobs.needs_tokenizer(job):
        raise ValueError("tokenizer: expected one, as prompt, answer_prefix or reference is a text, found None")
    prepared = jobs.prepare(job, tokenizer)
    capture(model, prepared.ids, os.fspath(path), tokenizer=tokenizer, steps=steps, reference=prepared.reference, window=window,
            chunk=chunk, store=store, spans=prepared.spans if is_text else checked, name=name, tokenization=prepared.tokenization,
            weights_sha256="" if weights is None else jobs.weights_sha256(weights))
    return Trace(path)
