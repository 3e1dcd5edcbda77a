"""What capture.py sees of a transformers model while it runs, and what it refuses: every call of the attention function,
what enters and leaves the output projection, and the residual stream.

A trial over the prompt's first tokens comes before anything is recorded. In it the model's parts show what they are: which linear
layer the attention's output enters, how that comes to the residual stream, and whether the attention is what a trace can hold. The
checks that cost next to nothing (the mask, what enters the output projection) go on while the run is recorded.
"""

import inspect
import math
from contextlib import contextmanager

import torch

from .model_parts import (BEFORE_NORM, NOT_KNOWN, Refused, adds_up, attentions_of, block_of, error_of, how_it_is_added, is_transposed,
                          rotary_of, same, seen_by, shows_window, tolerance_of, visible)

SINKS = 4  # positions that the queries' statistics leave out
TILE = 256  # query rows whose attention is looked at together
TRIAL = 16  # tokens of the trial
NOT_PLAIN = ("softcap", "s_aux", "sinks", "position_bias", "alibi")  # arguments of attention functions that change the scores
OUTPUTS = ("o_proj", "out_proj", "dense", "c_proj", "wo")  # usual names of the output projection


class Recorder:
    """Looks on while the model runs; `shape` has its sizes once the trial is over."""

    def __init__(self, model, seq_len, steps, window):
        self.model, self.seq_len, self.steps, self.window = model, seq_len, steps, min(window, seq_len)
        self.name = getattr(model.config, "model_type", "") or type(model).__name__
        if model.training:
            raise Refused(f"{self.name}: expected a model in evaluation mode, found one in training: call eval()")
        self.attentions = attentions_of(model, self.name)
        self.layers = [_Layer(self, index, attention) for index, attention in enumerate(self.attentions)]
        self.layer_of = {id(layer.attention): layer for layer in self.layers}
        self.trying, self.evaluating, self.writer, self.shape = False, False, None, None

    # what the model is run with

    def new_cache(self):
        from transformers import DynamicCache

        return DynamicCache()  # not the model's: that forgets what leaves a window

    def forward(self, ids, cache, all_logits=False):
        """Logits of the last token, or of all."""
        parameters = inspect.signature(self.model.forward).parameters
        name = next((name for name in ("cache", "past_key_values") if name in parameters), None)
        if name is None:
            raise Refused(f"{self.name}: expected a model that takes a cache of keys and values, found none in its forward()")
        options = {name: cache, "use_cache": True}
        if not all_logits and "logits_to_keep" in parameters:
            options["logits_to_keep"] = 1
        out = self.model(input_ids=torch.tensor([ids], device=self.model.device), **options)
        logits = out.logits[0].float()
        return logits if all_logits else logits[-1:]

    def try_out(self, ids):
        """Runs the model over a few tokens; raises Refused, in one sentence, where a trace cannot hold what it does."""
        self.trying = True
        try:
            with self._watched([handle for layer in self.layers for handle in layer.trial_hooks()]):
                cache = self.new_cache()
                self.vocab_size = self.forward(ids[:TRIAL], cache).shape[-1]
                self.forward(ids[:1], cache)
        except Refused:
            raise
        except Exception as error:  # whatever a model of this kind raises
            said = (str(error).splitlines() or [""])[0]
            raise Refused(f"{self.name}: transformers does not run it over token ids alone with a DynamicCache and an attention "
                          f"function from outside: {type(error).__name__}: {said[:200]}") from error
        finally:
            self.trying = False
        self.shape = self._shape()
        for layer in self.layers:
            layer.forget()

    def _shape(self):
        shapes = [layer.found_shape() for layer in self.layers]
        for index, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise Refused(f"{self.name}: layer {index}: expected the sizes of layer 0, {_words(shapes[0])}, found {_words(shape)}: "
                              "a trace has the same heads in all layers")
        return {"num_layers": len(self.layers), **shapes[0]}

    def attached(self, writer):
        self.writer = writer
        return self._watched([handle for layer in self.layers for handle in layer.hooks()])

    @contextmanager
    def _watched(self, handles):
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

        AttentionInterface.register("lava_capture", self._attend)
        AttentionMaskInterface.register("lava_capture", sdpa_mask)
        before = self.model.config._attn_implementation
        try:
            self.model.set_attn_implementation("lava_capture")
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.model.set_attn_implementation(before)

    def _attend(self, module, query, key, value, attention_mask, scaling=None, **others):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        layer = self.layer_of.get(id(module))
        if layer is None:
            raise Refused(f"{self.name}: expected attention in the layers' own modules only, found it in another {type(module).__name__}")
        scaling = scaling if scaling is not None else query.shape[-1] ** -0.5
        layer.check_call(query, key, value, others)
        is_causal = others.get("is_causal")
        layer.check_mask(attention_mask, query.shape[2], key.shape[2], others,
                         getattr(module, "is_causal", True) if is_causal is None else is_causal)
        if not self.trying:
            layer.see(query[0], key[0], value[0], scaling)
        if attention_mask is None and query.shape[2] > 1 and query.shape[2] < key.shape[2]:
            attention_mask = visible(query.shape[2], key.shape[2], query.device)[None, None]
        given = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling,
                                       **{name: other for name, other in others.items() if name == "is_causal"})
        if self.trying:
            layer.compare_with_its_own(query, key, value, scaling, others, given[0])
        layer.given = given[0]
        return given

    # what a trace has of all layers

    def write_layers(self, writer):
        """The steps, and the queries' statistics where every layer's rotary embedding is known to be the model's."""
        steps = [layer.step_arrays() for layer in self.layers] if self.steps else []
        has_stream = all(adds_up(arrays) for arrays in steps)
        for layer, arrays in zip(self.layers, steps):
            for name in () if has_stream else ("resid_pre", "resid_mid", "mlp_out"):
                arrays.pop(name, None)
            writer.write(layer.index, arrays)
        if any(layer.window_size for layer in self.layers):
            writer.set(layer_windows=[layer.window_size for layer in self.layers])
        if all(layer.rope_is_known for layer in self.layers):
            writer.set(**self._rope())
            for layer in self.layers if self.seq_len > SINKS else ():
                layer.write_statistics(writer)

    def attn_out_at(self):
        """Where attn_out is taken, where that is not what is added to the residual stream; otherwise empty."""
        places = {layer.attn_out_at for layer in self.layers}
        return NOT_KNOWN if NOT_KNOWN in places else BEFORE_NORM if BEFORE_NORM in places else ""

    def _rope(self):
        rotary = rotary_of(self.model)
        return {"rope_inv_freq": rotary.inv_freq.double().cpu().numpy(),
                "rope_attention_scaling": float(getattr(rotary, "attention_scaling", 1.0))}


class _Layer:
    """What is known and recorded of one layer between its parts' calls."""

    def __init__(self, recorder, index, attention):
        self.recorder, self.index, self.attention = recorder, index, attention
        self.block = block_of(recorder.model, attention)
        self.output, self.multiplier, self.attn_out_at = None, 1.0, ""  # found by the trial
        self.sizes, self.window_size, self.given = None, None, None
        self.forget()

    def forget(self):
        self.length, self.window, self.sums, self.steps, self.parts = 0, [], None, {}, []
        self.statistics, self.raw_queries, self.rope_is_known = None, None, rotary_of(self.recorder.model) is not None
        self.stream, self.added, self.given = None, None, None

    def refuse(self, message):
        raise Refused(f"{self.recorder.name}: layer {self.index}: {message}")

    def found_shape(self):
        if self.sizes is None:
            self.refuse("expected an attention that calls transformers' AttentionInterface, found one that does not")
        weight = self.weight()
        return {**self.sizes, "hidden_size": weight.shape[0]}

    def weight(self):
        """The output projection, [hidden_size, Hq d]."""
        weight = self.output.weight
        return weight.T if is_transposed(self.output) else weight

    # hooks of the trial

    def trial_hooks(self):
        handles = [self.block.register_forward_pre_hook(self._begin_trial, with_kwargs=True)]
        inside = set(self.attention.modules())
        for module in self.block.modules():
            if isinstance(module, torch.nn.Linear) or is_transposed(module):
                handles.append(module.register_forward_hook(self._find_output))
            if module is not self.block and module not in inside:
                handles.append(module.register_forward_hook(self._add_part))
        return [*handles, self.block.register_forward_hook(self._end_trial)]

    def _begin_trial(self, _, inputs, kwargs):
        stream = inputs[0] if inputs else kwargs.get("hidden_states")
        self.stream, self.parts, self.given, self.added = stream.clone(), [], None, None

    def _find_output(self, module, inputs, output):
        """The linear layer that the attention's output enters as it is."""
        if self.given is None or self.added is not None or not same(inputs[0], self.given):
            return
        self.output, self.added = module, output.clone()
        bias = module.bias
        again = inputs[0] @ self.weight().T.to(inputs[0].dtype) + (0 if bias is None else bias)
        if error_of(again, output) > tolerance_of(output):
            self.refuse(f"expected a linear output projection, found {type(module).__name__}, which gives something else than its "
                        "weights times what enters it")

    def _add_part(self, _, inputs, output):
        output = output[0] if isinstance(output, tuple) else output
        if inputs and all(torch.is_tensor(part) and part.numel() == self.stream.numel() for part in (inputs[0], output)):
            self.parts.append((inputs[0].clone().view_as(self.stream), output.clone().view_as(self.stream)))

    def _end_trial(self, _, __, output):
        if self.given is None:
            self.refuse("expected an attention that calls transformers' AttentionInterface, found one that does not")
        if self.added is None:
            name = next((name for name in OUTPUTS if hasattr(self.attention, name)), None)
            self.refuse(f"expected what its attention gives to enter {name} as it is, found it changed on the way, by a gate or a norm"
                        if name else "expected a linear layer behind its attention, found none that its output enters as it is")
        output = output[0] if isinstance(output, tuple) else output
        self.multiplier, self.attn_out_at = how_it_is_added(self.stream, self.added.view_as(self.stream), self.parts, output)
        self.multiplier = self._as_configured(self.multiplier)

    def _as_configured(self, multiplier):
        """The configuration's number instead of the one measured."""
        values = [value for value in vars(self.recorder.model.config.get_text_config()).values()
                  if isinstance(value, float) and abs(value / multiplier - 1) < 1e-2]
        return min([1.0, *values], key=lambda value: abs(value - multiplier)) if values or abs(multiplier - 1) < 1e-2 else multiplier

    def compare_with_its_own(self, query, key, value, scaling, others, given):
        """With the attention function that its authors wrote, where there is one: it may do more than a mask and a softmax."""
        own = getattr(inspect.getmodule(type(self.attention)), "eager_attention_forward", None)
        if own is None:
            return
        hidden = ~visible(query.shape[2], key.shape[2], query.device, self.window_size)
        mask = torch.zeros(hidden.shape, dtype=query.dtype, device=query.device).masked_fill_(hidden, torch.finfo(query.dtype).min)
        others = {"dropout": 0.0, **others}
        theirs = own(self.attention, query, key, value, mask[None, None], scaling=scaling, **others)[0]
        if error_of(given, theirs) > tolerance_of(given):
            self.refuse(f"expected a softmax of scaled products, found that {type(self.attention).__name__}'s own attention function "
                        f"differs by {error_of(given, theirs):.2g}")

    # hooks of the recording: they are called in the order of the model's arithmetic

    def hooks(self):
        source = getattr(self.attention, "q_norm", None) or getattr(self.attention, "q_proj", None) \
            or getattr(self.attention, "qkv_proj", None)
        handles = [self.output.register_forward_hook(self._after_output)]
        if source is not None:
            handles.append(source.register_forward_hook(self._after_queries))
        norm = getattr(self.block, "post_attention_layernorm", None)
        if norm is not None and hasattr(self.block, "mlp"):
            handles.append(self.block.register_forward_pre_hook(self._before_block, with_kwargs=True))
            handles.append(norm.register_forward_pre_hook(lambda _, inputs: self._step("resid_mid", inputs[0])))
            handles.append(self.block.mlp.register_forward_hook(lambda _, __, out: self._step("mlp_out", out)))
        return handles

    def _step(self, name, value):
        if self.recorder.evaluating:
            value = value[0] if isinstance(value, tuple) else value
            self.steps.setdefault(name, []).append(value.reshape(-1, value.shape[-1]).clone())

    def _before_block(self, _, inputs, kwargs):
        self._step("resid_pre", inputs[0] if inputs else kwargs["hidden_states"])

    def _after_output(self, _, inputs, output):
        given, self.given = self.given, None
        if given is None or not same(inputs[0], given):
            self.refuse("expected what its attention gives to enter the output projection as it is, found it changed on the way")
        self._step("attn_out", output * self.multiplier)

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

    def check_call(self, query, key, value, others):
        for name in NOT_PLAIN:
            if others.get(name) is not None:
                self.refuse(f"its attention has {name}, which a trace cannot hold")
        self.length += query.shape[2]
        if key.shape[2] != self.length:
            self.refuse(f"expected one call of the attention function with {self.length} keys, found one with {key.shape[2]}")
        if value.shape != key.shape:
            self.refuse(f"expected as many numbers in a value as in a key, {key.shape[-1]}, found {value.shape[-1]}: a trace has one "
                        "head_dim")
        if query.shape[-1] != key.shape[-1] or query.shape[1] % key.shape[1]:
            self.refuse(f"expected queries in groups of keys, found {query.shape[1]} query heads of {query.shape[-1]} numbers and "
                        f"{key.shape[1]} KV heads of {key.shape[-1]}")
        self.sizes = {"num_heads": query.shape[1], "num_kv_heads": key.shape[1], "head_dim": key.shape[-1]}

    def check_mask(self, mask, rows, columns, others, is_causal):
        """The window that the mask shows; what the arguments say counts only where the mask does not show it yet."""
        said = (others["sliding_window"] if "sliding_window" in others else getattr(self.attention, "sliding_window", None)) or 0
        said = said if isinstance(said, int) else 0
        before = said if self.window_size is None else self.window_size
        if mask is None:
            if rows > 1 and not is_causal:
                self.refuse("expected attention to earlier tokens only, found that each token sees the later ones, too")
            fitting = [before if before >= columns else 0]
        else:
            seen = seen_by(mask, rows, columns)
            if seen is None:
                self.refuse("expected a mask that shows or hides keys, found one that adds numbers to the scores")
            candidates = dict.fromkeys((before, said, 0, int(seen[0, -1].sum())))
            fitting = [window for window in candidates if shows_window(seen, window)]
        fitting = [window for window in fitting if window == before or self.window_size is None
                   or all(size == 0 or size >= self.length - rows for size in (window, before))]
        if not fitting:
            self.refuse("expected a mask that shows all earlier keys, or those of one sliding window, found another one"
                        + (f" (sliding_window is {before})" if before else ""))
        self.window_size = fitting[0]

    def see(self, query, key, value, scaling):
        """query [Hq, n, d]; key, value [Hkv, N, d], all tokens so far."""
        first = key.shape[1] - query.shape[1]
        # a trace's scores are q k / sqrt(d): another scaling goes into the queries, those of the statistics too
        factor = scaling * query.shape[-1] ** 0.5
        factor = 1.0 if math.isclose(factor, 1.0) else factor
        scaled = query if factor == 1 else query * factor
        if self.recorder.evaluating:
            for name, part in (("q_eval", scaled), ("k_eval", key[:, first:]), ("v_eval", value[:, first:])):
                self.steps.setdefault(name, []).append(part.clone())
            return
        self._add_statistics(query, first, factor)
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
                window = self.window_size
                scores.masked_fill_(~visible(len(tile), seen, scores.device, window), -torch.inf)
                weights = scores.softmax(-1)
                self.sums[0, head, :seen] += weights.sum(0)
                weights[torch.arange(len(tile)), torch.arange(seen - len(tile), seen)] = 0
                self.sums[1, head, :seen] += weights.sum(0)

    def _add_statistics(self, query, first, factor):
        """Sums of factor times the queries before the rotary embedding; checks that it turns them as its frequencies say."""
        raw, self.raw_queries = self.raw_queries, None
        if raw is None or raw.shape != query.shape or not self.rope_is_known:
            self.rope_is_known = False
            return
        positions = torch.arange(first, first + query.shape[1], device=query.device)[None]
        try:
            cos, sin = (part[0].to(query.dtype) for part in rotary_of(self.recorder.model)(query[None, 0], positions))
        except (TypeError, ValueError, AttributeError, RuntimeError):  # one that wants to know more, such as the layer's type
            self.rope_is_known = False
            return
        dim = cos.shape[-1]
        if cos.dim() != 2 or cos.is_complex() or dim > raw.shape[-1] or dim % 2:
            self.rope_is_known = False
            return
        turned, rest = raw[..., :dim], raw[..., dim:]
        rotated = torch.cat((-turned[..., dim // 2:], turned[..., :dim // 2]), -1)
        expected = torch.cat((turned * cos + rotated * sin, rest), -1)
        if not torch.allclose(expected.float(), query.float(), rtol=1e-2, atol=1e-2 * float(query.float().std())):
            self.rope_is_known = False
            return
        counted = raw[:, max(SINKS - first, 0):].double() * factor
        if self.statistics is None:
            self.statistics = [0, counted.new_zeros(counted.shape[0], counted.shape[2]),
                               counted.new_zeros(counted.shape[0], counted.shape[2], counted.shape[2])]
        self.statistics[0] += counted.shape[1]
        self.statistics[1] += counted.sum(1)
        self.statistics[2] += counted.transpose(1, 2) @ counted

    # writing

    def _write_prompt(self, key, value):
        arrays = {"k": key, "v": value, "q_window": torch.cat(self.window, 1),
                  "observed_attention": self.sums[0], "observed_attention_off_diagonal": self.sums[1],
                  "w_o": self.weight() * self.multiplier}
        if self.output.bias is not None:
            arrays["b_o"] = self.output.bias * self.multiplier
        self.recorder.writer.write(self.index, arrays)
        self.window, self.sums = [], None

    def write_statistics(self, writer):
        count, total, products = self.statistics
        mean = total / count
        covariance = products / count - mean[:, :, None] * mean[:, None, :]
        writer.write(self.index, {"q_pre_rope_mean": mean, "q_pre_rope_cov": covariance})

    def step_arrays(self):
        return {name: torch.cat(parts, 1 if name in ("q_eval", "k_eval", "v_eval") else 0) for name, parts in self.steps.items()}


def _words(shape):
    return ", ".join(f"{name} {size}" for name, size in shape.items())
