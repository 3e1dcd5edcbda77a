"""Record a lava trace (traces/FORMAT.md) of any transformers model, also of one that lava-capture's own decoder does not know.

    from lava_capture import capture
    capture(model, prompt_ids, "trace.h5", tokenizer=tokenizer, steps=16)

or `python lava_capture.py MODEL --prompt-file FILE -o trace.h5`. Needs torch, transformers 5 (AttentionInterface), numpy and
h5py, and lava_trace.py beside it or in traces/python.

The attention function is replaced by one that looks on: it sees queries and keys after the rotary embedding, whatever the
architecture. What a module does besides is recorded where its parts have the usual names (o_proj, q_proj, q_norm,
post_attention_layernorm) and is left out otherwise: without w_o there are no losses. A model whose attention is no plain
softmax of scaled products over all earlier tokens, or those of a sliding window (soft caps, sinks), is refused.
"""

import argparse
import math
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

HERE = Path(__file__).resolve()
for folder in (HERE.parent, HERE.parents[2] / "traces" / "python" if len(HERE.parents) > 2 else HERE.parent):
    if (folder / "lava_trace.py").exists():
        sys.path.insert(0, str(folder))
from lava_trace import TraceWriter  # noqa: E402

SINKS = 4  # positions that the queries' statistics leave out
TILE = 256  # query rows whose attention is looked at together
STORES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


@torch.no_grad()
def capture(model, prompt_ids, path, *, tokenizer=None, steps=16, reference=None, window=64, chunk=None, store=None,
            spans=(), name="", tokenization=""):
    """Run `model` over `prompt_ids` (a sequence of ints), take `steps` greedy steps or feed the ids of `reference`, and
    write the trace to `path`.

    chunk   prompt tokens in a forward call; None: all
    store   "f32", "f16" or "bf16"; None: the model's dtype
    spans   named stretches of prompt tokens, (name, begin, end)

    Raises ValueError where the model's attention is not what a trace can hold.
    """
    prompt_ids = [int(i) for i in prompt_ids]
    steps = len(reference) if reference is not None else steps
    recorder = _Recorder(model, len(prompt_ids), steps, window)
    shape = recorder.shape
    writer = TraceWriter(path, **shape, seq_len=len(prompt_ids), window=recorder.window, eval_len=steps,
                         vocab_size=model.config.get_text_config().vocab_size, store=store or STORES[model.dtype],
                         model=name or Path(model.config.name_or_path).name, config=model.config.to_json_string(),
                         device=str(model.device), dtype=str(model.dtype).removeprefix("torch."),
                         continuation="" if not steps else "reference" if reference is not None else "greedy",
                         tokenization=tokenization, generator="lava_capture.py")
    from transformers import DynamicCache

    with writer, recorder.attached(writer):
        cache, size = DynamicCache(), chunk or len(prompt_ids)  # not the model's: that forgets what leaves a window
        for begin in range(0, len(prompt_ids), size):
            out = _forward(model, prompt_ids[begin:begin + size], cache)
            cache = out.past_key_values
        eval_ids, logits = _evaluate(model, recorder, cache, out.logits, steps, reference)
        recorder.write_steps(writer)
        recorder.write_statistics(writer)
        if any(recorder.layer_windows):
            writer.set(layer_windows=recorder.layer_windows)
        if tokenizer is not None:
            writer.set(prompt_texts=_texts(tokenizer, prompt_ids))
            if steps:
                writer.set(eval_texts=_texts(tokenizer, eval_ids))
        writer.set(prompt_ids=prompt_ids, eval_ids=eval_ids if steps else None, logits=logits, spans=spans)


def _forward(model, ids, cache):
    return model(input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True)


def _evaluate(model, recorder, cache, logits, steps, reference):
    """The steps' inputs and their logits [T, V]; None without steps."""
    recorder.evaluating = True
    if not steps:
        return [], None
    if reference is not None:
        return list(reference), _forward(model, list(reference), cache).logits[0].float()
    ids, rows = [], []
    for _ in range(steps):
        ids.append(int(logits[0, -1].argmax()))
        logits = _forward(model, ids[-1:], cache).logits
        rows.append(logits[0, -1].float())
    return ids, torch.stack(rows)


def _texts(tokenizer, ids):
    """Each token's text, decoded alone: a part of a character shows as U+FFFD."""
    return [tokenizer.decode([i]) for i in ids]


class _Recorder:
    """Looks on while the model runs; knows its sizes."""

    def __init__(self, model, seq_len, steps, window):
        self.model, self.seq_len, self.steps, self.window = model, seq_len, steps, min(window, seq_len)
        config = model.config.get_text_config()
        self.attentions = _attentions(model)
        first = self.attentions[0]
        heads = config.num_attention_heads
        head_dim = getattr(first, "head_dim", None) or getattr(config, "head_dim", None) or config.hidden_size // heads
        self.shape = {"num_layers": len(self.attentions), "num_heads": heads,
                      "num_kv_heads": getattr(config, "num_key_value_heads", None) or heads, "head_dim": head_dim,
                      "hidden_size": config.hidden_size}
        self.layers = [_Layer(self, index, attention) for index, attention in enumerate(self.attentions)]
        self.evaluating, self.writer = False, None
        self.layer_windows = [0] * len(self.layers)  # 0: none

    @contextmanager
    def attached(self, writer):
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

        self.writer = writer
        AttentionInterface.register("lava_capture", self._attend)
        AttentionMaskInterface.register("lava_capture", sdpa_mask)
        before = self.model.config._attn_implementation
        handles = [handle for layer in self.layers for handle in layer.hooks()]
        try:
            self.model.set_attn_implementation("lava_capture")
            yield
        finally:
            self.model.set_attn_implementation(before)
            for handle in handles:
                handle.remove()

    def _attend(self, module, query, key, value, attention_mask, scaling=None, **others):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        scaling = scaling if scaling is not None else query.shape[-1] ** -0.5
        self._refuse_what_is_not_plain(module, others)
        layer = self.layers[self.attentions.index(module)]
        self.layer_windows[layer.index] = others.get("sliding_window") or getattr(module, "sliding_window", None) or 0
        layer.see(query[0], key[0], value[0], scaling)
        if attention_mask is None and query.shape[2] > 1 and query.shape[2] < key.shape[2]:
            attention_mask = _visible(query.shape[2], key.shape[2], query.device)[None, None]
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling,
                                      **{name: other for name, other in others.items() if name == "is_causal"})

    def _refuse_what_is_not_plain(self, module, others):
        for name in ("softcap", "s_aux"):
            if others.get(name) is not None:
                raise ValueError(f"{type(module).__name__}: its attention has {name}, which a trace cannot hold")

    def write_steps(self, writer):
        for layer in self.layers:
            layer.write_steps(writer)

    def write_statistics(self, writer):
        """Of the queries before the rotary embedding, and the embedding; where every layer's is known to be it."""
        if not all(layer.rope_is_known for layer in self.layers):
            return
        writer.set(**self._rope())
        if self.seq_len > SINKS:
            for layer in self.layers:
                layer.write_statistics(writer)

    def _rope(self):
        rotary = _rotary(self.model)
        return {"rope_inv_freq": rotary.inv_freq.double().cpu().numpy(),
                "rope_attention_scaling": float(getattr(rotary, "attention_scaling", 1.0))}


class _Layer:
    """What is recorded of one layer between its parts' calls."""

    def __init__(self, recorder, index, attention):
        self.recorder, self.index, self.attention = recorder, index, attention
        self.window, self.sums, self.steps = [], None, {}
        self.statistics, self.raw_queries, self.rope_is_known = None, None, _rotary(recorder.model) is not None
        self.output = next((getattr(attention, name) for name in ("o_proj", "out_proj", "dense")
                            if isinstance(getattr(attention, name, None), torch.nn.Linear)), None)

    # hooks: they are called in the order of the model's arithmetic

    def hooks(self):
        block = _block_of(self.recorder.model, self.attention)
        source = getattr(self.attention, "q_norm", None) or getattr(self.attention, "q_proj", None) \
            or getattr(self.attention, "qkv_proj", None)
        handles = [self.attention.register_forward_hook(self._after_attention)]
        if source is not None:
            handles.append(source.register_forward_hook(self._after_queries))
        norm = getattr(block, "post_attention_layernorm", None)
        if norm is not None and hasattr(block, "mlp"):
            handles.append(block.register_forward_pre_hook(self._before_block, with_kwargs=True))
            handles.append(norm.register_forward_pre_hook(lambda _, inputs: self._step("resid_mid", inputs[0])))
            handles.append(block.mlp.register_forward_hook(lambda _, __, out: self._step("mlp_out", out)))
        return handles

    def _step(self, name, value):
        if self.recorder.evaluating:
            value = value[0] if isinstance(value, tuple) else value
            self.steps.setdefault(name, []).append(value.reshape(-1, value.shape[-1]).clone())

    def _before_block(self, _, inputs, kwargs):
        self._step("resid_pre", inputs[0] if inputs else kwargs["hidden_states"])

    def _after_attention(self, _, __, output):
        self._step("attn_out", output)

    def _after_queries(self, _, __, output):
        shape = self.recorder.shape
        width = shape["num_heads"] * shape["head_dim"]
        if output.shape[-1] == shape["head_dim"] and output.dim() == 4:  # q_norm, of heads or of [tokens, heads]
            heads_first = output.shape[1] == shape["num_heads"] and output.shape[2] != shape["num_heads"]
            self.raw_queries = output[0] if heads_first else output[0].transpose(0, 1)
        elif output.shape[-1] >= width:
            queries = output.reshape(-1, output.shape[-1])[:, :width]
            self.raw_queries = queries.view(-1, shape["num_heads"], shape["head_dim"]).transpose(0, 1)

    # the attention function

    def see(self, query, key, value, scaling):
        """query [Hq, n, d]; key, value [Hkv, N, d], all tokens so far."""
        first = key.shape[1] - query.shape[1]
        # a trace's scores are q k / sqrt(d): another scaling goes into the queries
        scaled = query if math.isclose(scaling, query.shape[-1] ** -0.5) else query * (scaling * query.shape[-1] ** 0.5)
        if self.recorder.evaluating:
            for name, part in (("q_eval", scaled), ("k_eval", key[:, first:]), ("v_eval", value[:, first:])):
                self.steps.setdefault(name, []).append(part.clone())
            return
        self._add_statistics(query, first)
        seq_len, rows = self.recorder.seq_len, self.recorder.window
        begin = max(first, seq_len - rows)
        if begin < key.shape[1]:
            self.window.append(scaled[:, begin - first:].clone())
        self._add_sums(scaled, key)
        if key.shape[1] == seq_len:
            self._write_prompt(key, value)

    def _add_sums(self, query, key):
        """Column sums of the causal attention within the window, in tiles of query rows."""
        heads, rows, dim = query.shape
        past, group = key.shape[1] - rows, heads // key.shape[0]
        if self.sums is None:
            self.sums = torch.zeros(2, heads, self.recorder.seq_len, dtype=torch.float64, device=query.device)
        for head in range(heads):
            keys = key[head // group].float()
            for row in range(0, rows, TILE):
                tile = query[head, row:row + TILE].float()
                seen = past + row + len(tile)
                scores = tile @ keys[:seen].T * dim ** -0.5
                window = self.recorder.layer_windows[self.index]
                scores.masked_fill_(~_visible(len(tile), seen, scores.device, window), -torch.inf)
                weights = scores.softmax(-1)
                self.sums[0, head, :seen] += weights.sum(0)
                weights[torch.arange(len(tile)), torch.arange(seen - len(tile), seen)] = 0
                self.sums[1, head, :seen] += weights.sum(0)

    def _add_statistics(self, query, first):
        """Sums of the queries before the rotary embedding; checks that it turns them as its frequencies say."""
        raw, self.raw_queries = self.raw_queries, None
        if raw is None or raw.shape != query.shape or not self.rope_is_known:
            self.rope_is_known = False
            return
        rotary = _rotary(self.recorder.model)
        positions = torch.arange(first, first + query.shape[1], device=query.device)[None]
        cos, sin = (part[0].to(query.dtype) for part in rotary(query[None, 0], positions))
        dim = cos.shape[-1]
        turned, rest = raw[..., :dim], raw[..., dim:]
        rotated = torch.cat((-turned[..., dim // 2:], turned[..., :dim // 2]), -1)
        expected = torch.cat((turned * cos + rotated * sin, rest), -1)
        if not torch.allclose(expected.float(), query.float(), rtol=1e-2, atol=1e-2 * float(query.float().std())):
            self.rope_is_known = False
            return
        counted = raw[:, max(SINKS - first, 0):].double()
        if self.statistics is None:
            self.statistics = [0, counted.new_zeros(counted.shape[0], counted.shape[2]),
                               counted.new_zeros(counted.shape[0], counted.shape[2], counted.shape[2])]
        self.statistics[0] += counted.shape[1]
        self.statistics[1] += counted.sum(1)
        self.statistics[2] += counted.transpose(1, 2) @ counted

    # writing

    def _write_prompt(self, key, value):
        arrays = {"k": key, "v": value, "q_window": torch.cat(self.window, 1),
                  "observed_attention": self.sums[0], "observed_attention_off_diagonal": self.sums[1]}
        if self.output is not None:
            arrays["w_o"] = self.output.weight
            arrays["b_o"] = self.output.bias
        self.recorder.writer.write(self.index, arrays)
        self.window, self.sums = [], None

    def write_statistics(self, writer):
        count, total, products = self.statistics
        mean = total / count
        covariance = products / count - mean[:, :, None] * mean[:, None, :]
        writer.write(self.index, {"q_pre_rope_mean": mean, "q_pre_rope_cov": covariance})

    def write_steps(self, writer):
        if not self.recorder.steps:
            return
        arrays = {name: torch.cat(parts, 1 if name in ("q_eval", "k_eval", "v_eval") else 0)
                  for name, parts in self.steps.items()}
        if not self._adds_up(arrays):
            for name in ("resid_pre", "resid_mid", "mlp_out"):
                arrays.pop(name, None)
        writer.write(self.index, arrays)
        self.steps = {}

    @staticmethod
    def _adds_up(arrays):
        """Whether the layer adds its attention's output to the stream, as a trace means it."""
        if not {"resid_pre", "attn_out", "resid_mid", "mlp_out"} <= arrays.keys():
            return False
        added, found = arrays["resid_pre"].float() + arrays["attn_out"].float(), arrays["resid_mid"].float()
        return bool((added - found).norm() <= 1e-2 * found.norm())


def _attentions(model):
    """The attention modules, in the order of their layers."""
    found = {}
    for module in model.modules():
        index = getattr(module, "layer_idx", None)
        if index is not None and "attention" in type(module).__name__.lower():
            found.setdefault(index, module)
    if sorted(found) != list(range(len(found))) or not found:
        raise ValueError(f"{type(model).__name__}: expected an attention module with layer_idx in each layer, "
                         f"found layers {sorted(found)}")
    return [found[index] for index in sorted(found)]


def _block_of(model, attention):
    return next(module for module in model.modules() if any(child is attention for child in module.children()))


def _rotary(model):
    return next((module for module in model.modules() if hasattr(module, "inv_freq") and hasattr(module, "forward")), None)


def _visible(rows, columns, device, window=0):
    visible = torch.ones(rows, columns, dtype=torch.bool, device=device).tril(columns - rows)
    return visible & ~visible.tril(columns - rows - window) if window else visible


def main():
    parser = argparse.ArgumentParser(description="Record a lava trace of a transformers model.")
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("--prompt-file", help="file with the prompt text")
    parser.add_argument("--ids", help="JSON array of token ids instead")
    parser.add_argument("--chat", action="store_true", help="put the text into the model's chat template")
    parser.add_argument("--continue", dest="steps", type=int, default=16, help="greedy steps after the prompt")
    parser.add_argument("--window", type=int, default=64, help="last query rows to record")
    parser.add_argument("--chunk", type=int, help="prompt tokens in a forward call (default: all)")
    parser.add_argument("--store", choices=["f32", "f16", "bf16"], help="default: the model's dtype")
    parser.add_argument("--dtype", default="auto", help="float32, float16 or bfloat16 (default: the model's)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    if (arguments.prompt_file is None) == (arguments.ids is None):
        parser.error("give --prompt-file or --ids")
    inputs = [arguments.prompt_file or arguments.ids, *Path(arguments.model).glob("*")]
    for path in filter(os.path.exists, inputs if os.path.exists(arguments.output) else []):
        if os.path.samefile(path, arguments.output) and not str(path).endswith(".h5"):
            parser.error(f"{arguments.output}: would be written over {path}")

    import json

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=arguments.dtype).to(arguments.device).eval()
    tokenizer = None
    if arguments.ids:
        ids = json.loads(Path(arguments.ids).read_text())
    else:
        tokenizer = AutoTokenizer.from_pretrained(arguments.model)
        text = Path(arguments.prompt_file).read_text(encoding="utf-8")
        if arguments.chat:
            text = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True,
                                                 tokenize=False)
        ids = tokenizer.encode(text, add_special_tokens=not arguments.chat)
    capture(model, ids, arguments.output, tokenizer=tokenizer, steps=arguments.steps, window=arguments.window,
            chunk=arguments.chunk, store=arguments.store)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"lava_capture.py: {error}")
