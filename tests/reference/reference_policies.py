"""Scores, budgets and selection of every policy, written down a second time: plain numpy, float64, no shortcuts.

Nothing here is shared with replay/. Shapes: Hq query heads, Hkv KV heads, g = Hq / Hkv, N prompt tokens, w window,
M = N - w evictable entries. A *capacity* counts evictable entries of one KV head; the window comes on top.

Where the sources leave a choice, this file reads them so:
 1. granted = capacity + window as the policy's rule left it. Where the rule says "keep all" because a capacity exceeds
    M, that capacity stands (AdaKV, LAVa, PyramidKV); where CAKE does nothing because N <= B + w, it granted N.
 2. CAKE's granted is what its integer adjustment returned, before the caller clamps to M; entries that an earlier step
    of the cascade evicted do not return, so retained may stay below it.
 3. A pyramid over one layer has no step (the formula divides by L - 1): its layer gets the maximum, as in kvpress.
 4. LAVa's "pool, then value norm, then maximum over the group" holds for every `pool` and `gqa`.
 5. TOVA protects the last token alone and otherwise ranks N - 1 entries; StreamingLLM protects nothing by name, its set
    is the first `sinks` and the last B - sinks.
 6. LAVa's entropy is -sum p ln(p + 1e-16) with p = s / (sum s + 1e-16), in float64; its divisor is the same in every
    layer and cancels. Layers whose entropies are all 0 share evenly.
 7. The rounding of AdaKV's head capacities is done in float32, half to even, as torch does it.
 8. @official of LAVa's ablations: the floor int(alpha * B) and value norms over the prefix; lava-nohead has no floor,
    since it has no head rule that could use one.
"""

import dataclasses

import numpy as np

WINDOWED = {"window": 32, "kernel": 7, "pool": "max", "gqa": "mean"}
LAVA = {**WINDOWED, "gqa": "max"}
DEFAULTS = {
    "full": {},
    "random": {"window": 32, "seed": 0},
    "streaming-llm": {"sinks": 4},
    "h2o": {"window": 32, "gqa": "mean"},
    "tova": {},
    "snapkv": WINDOWED,
    "pyramidkv": {**WINDOWED, "beta": 20},
    "vatp": WINDOWED,
    "ada-snapkv": {**WINDOWED, "alpha": 0.2},
    "ada-pyramidkv": {**WINDOWED, "alpha": 0.2, "beta": 20},
    "cake": {"window": 32, "kernel": 5, "pool": "avg", "gqa": "mean", "gamma": 200.0, "tau1": 1.0, "tau2": 1.0},
    "lava": LAVA,
    "lava-uniform": LAVA,
    "lava-pyramid": {**LAVA, "beta": 20},
    "lava-nohead": LAVA,
}


@dataclasses.dataclass
class Policy:
    name: str
    variant: str
    parameters: dict

    def __getattr__(self, key):
        try:
            return self.__dict__["parameters"][key]
        except KeyError:
            raise AttributeError(f"{self.__dict__.get('name')} has no parameter {key}") from None


def parse_policy(text):
    """NAME[@VARIANT][:KEY=VALUE,...] with the toolkit's defaults for what is not said."""
    head, _, tail = text.partition(":")
    name, _, variant = head.partition("@")
    parameters = dict(DEFAULTS[name])
    if variant == "official":
        parameters["alpha"] = 0.2
    for item in filter(None, tail.split(",")):
        key, value = item.split("=")
        if key not in parameters:
            raise ValueError(f"{name} has no parameter {key}")
        parameters[key] = type(parameters[key])(value)
    return Policy(name, variant, parameters)


# --- scores -----------------------------------------------------------------------------------------------------------


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def window_attention(layer, window):
    """[Hq, window, N]: attention of the last `window` prompt tokens over all of the prompt, causal."""
    if window not in layer.attention_of_window:
        first = layer.seq_len - window
        causal = np.arange(layer.seq_len)[None, :] <= first + np.arange(window)[:, None]
        heads = []
        for head in range(layer.num_heads):
            query = layer.q_window[head, layer.q_window.shape[1] - window :]
            logits = query @ layer.k[head // layer.group_size].T / np.sqrt(layer.k.shape[2])
            heads.append(softmax(np.where(causal, logits, -np.inf)))
        layer.attention_of_window[window] = np.stack(heads)
    return layer.attention_of_window[window]


def prefix_attention(layer, window):
    """[Hq, window, M]: the same without the window's own columns, not renormalised."""
    return window_attention(layer, window)[:, :, : layer.seq_len - window]


def pool(scores, kind, kernel):
    """Stride 1 along the last axis; the maximum pads with nothing, the average with zeros that count."""
    if kind == "none":
        return scores
    padding = np.full(scores.shape[:-1] + (kernel // 2,), -np.inf if kind == "max" else 0.0)
    padded = np.concatenate([padding, scores, padding], axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=-1)
    return windows.max(axis=-1) if kind == "max" else windows.sum(axis=-1) / kernel


def reduce_group(scores, layer, how):
    """[Hq, ...] -> [Hkv, ...]"""
    grouped = scores.reshape((layer.num_kv_heads, layer.group_size) + scores.shape[1:])
    return {"mean": grouped.mean, "max": grouped.max, "sum": grouped.sum}[how](axis=1)


def value_norms(layer):
    """[Hkv, N], L1"""
    return np.abs(layer.v).sum(axis=-1)


def snapkv_scores(layer, policy):
    attention = prefix_attention(layer, policy.window).mean(axis=1)
    return pool(reduce_group(attention, layer, policy.gqa), policy.pool, policy.kernel)


def vatp_scores(layer, policy):
    pooled = pool(prefix_attention(layer, policy.window).mean(axis=1), policy.pool, policy.kernel)
    norms = np.repeat(value_norms(layer)[:, : layer.seq_len - policy.window], layer.group_size, axis=0)
    return reduce_group(pooled * norms, layer, policy.gqa)


def lava_scores(layer, policy):
    pooled = pool(prefix_attention(layer, policy.window).mean(axis=1), policy.pool, policy.kernel)
    norms = value_norms(layer)
    if policy.variant == "official":
        norms = norms[:, : layer.seq_len - policy.window]
    largest = np.repeat(norms.max(axis=1), layer.group_size)
    return reduce_group(pooled * largest[:, None], layer, policy.gqa)


def lava_entropy(scores):
    shares = scores.flatten() / (scores.sum() + 1e-16)
    return -np.sum(shares * np.log(shares + 1e-16)) / np.log(scores.size)


def cake_scores(layer, policy):
    attention = prefix_attention(layer, policy.window)
    spread = attention.mean(axis=1) + policy.gamma * attention.var(axis=1, ddof=1)
    return reduce_group(pool(spread, policy.pool, policy.kernel), layer, policy.gqa)


def cake_preference(layer, policy):
    attention = prefix_attention(layer, policy.window)
    entropy = -np.sum(attention * np.log(attention + 1e-10))
    variance = attention.var(axis=1, ddof=1).sum()
    return entropy ** (1 / policy.tau1) * variance ** (1 / policy.tau2)


def h2o_scores(layer, policy):
    sums = layer.observed_attention[:, : layer.seq_len - policy.window]
    return reduce_group(sums, layer, policy.gqa)


def tova_scores(layer, _):
    mean = prefix_attention(layer, 1)[:, 0].mean(axis=0)
    return np.tile(mean, (layer.num_kv_heads, 1))


SCORES = {"h2o": h2o_scores, "tova": tova_scores, "vatp": vatp_scores, "cake": cake_scores}
SCORES |= dict.fromkeys(["snapkv", "pyramidkv", "ada-snapkv", "ada-pyramidkv"], snapkv_scores)
SCORES |= dict.fromkeys(["lava", "lava-uniform", "lava-pyramid", "lava-nohead"], lava_scores)


@dataclasses.dataclass
class Scores:
    policy: Policy
    seq_len: int
    window: int  # recent tokens that always stay
    entries: list  # per layer [Hkv, M], None where the policy has no scores
    weights: list  # per layer: its claim on the total budget, None where the policy has none
    num_kv_heads: int

    @property
    def num_layers(self):
        return len(self.entries)

    @property
    def evictable(self):
        return self.seq_len - self.window


def score(layers, policy):
    """What a policy needs of every layer before it is told a budget."""
    entries = [SCORES[policy.name](layer, policy) if policy.name in SCORES else None for layer in layers]
    weights = [None] * len(layers)
    if policy.name == "cake":
        weights = [cake_preference(layer, policy) for layer in layers]
    elif policy.name in ("lava", "lava-nohead"):
        weights = [lava_entropy(scores) for scores in entries]
    window = 1 if policy.name == "tova" else policy.parameters.get("window", 0)
    return Scores(policy, layers[0].seq_len, window, entries, weights, layers[0].num_kv_heads)
