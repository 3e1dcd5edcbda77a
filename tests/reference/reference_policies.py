"""Scores, budgets and selection of every policy, written down a second time: plain numpy, float64, no shortcuts.

Nothing here is shared with replay/. Shapes: Hq query heads, Hkv KV heads, g = Hq / Hkv, N prompt tokens, w window,
M = N - w evictable entries. A *capacity* counts evictable entries of one KV head; the window comes on top.

Where the sources leave a choice, this file reads them so:
 1. granted = capacity + window as the policy's rule left it. Where the rule says "keep all" because a capacity exceeds
    M, that capacity stands (AdaKV, LAVa, PyramidKV). Where CAKE does nothing yet because N <= B + w, its capacity is
    the nominal one, to which its first decode step would evict: there it retains more than it granted.
 2. CAKE's granted is what its integer adjustment returned, before the caller clamps to M; entries that an earlier step
    of the cascade evicted do not return, so retained may stay below it.
 3. A pyramid over one layer has no step (the formula divides by L - 1): its layer gets the mean, so no pyramid.
 4. LAVa's "pool, then value norm, then maximum over the group" holds for every `pool` and `gqa`.
 5. TOVA protects the last token alone and otherwise ranks N - 1 entries; StreamingLLM protects nothing by name, its set
    is the first `sinks` and the last B - sinks.
 6. LAVa's entropy is -sum p ln(p + 1e-16) with p = s / (sum s + 1e-16), in float64; its divisor is the same in every
    layer and cancels. Layers whose entropies are all 0 share evenly.
 7. The rounding of AdaKV's head capacities is done in float32, half to even, as torch does it.
 8. @official of LAVa's ablations: the floor int(alpha * B) and value norms over the prefix; lava-nohead has no floor,
    since it has no head rule that could use one. floor=layer is the same with int(alpha * b) of the layer's own number.
 9. normalize under a cascade: every cut weighs the heads anew (the released code keeps the first cut's order).
"""

import dataclasses

import numpy as np

VATP = {"window": 32, "kernel": 7, "pool": "max", "gqa": "mean"}
SNAPKV = {**VATP, "gqa_at": "pre_pool"}
ADA = {**SNAPKV, "alpha": 0.2, "normalize": "off"}
CAKE = {**VATP, "kernel": 5, "pool": "avg", "gamma": 200.0, "tau1": 1.0, "tau2": 1.0, "cascading": "on"}
NOHEAD = {**VATP, "gqa": "max", "value_norm": "all"}
LAVA = {**NOHEAD, "alpha": 0.0, "floor": "layer", "normalize": "off"}
DEFAULTS = {
    "full": {},
    "random": {"window": 32, "seed": 0},
    "streaming-llm": {"sinks": 4},
    "h2o": {"window": 32, "gqa": "mean", "diagonal": "on"},
    "tova": {"heads": "layer"},
    "snapkv": SNAPKV,
    "pyramidkv": {**SNAPKV, "beta": 20},
    "vatp": VATP,
    "ada-snapkv": ADA,
    "ada-pyramidkv": {**ADA, "beta": 20},
    "cake": CAKE,
    "lava": LAVA,
    "lava-uniform": LAVA,
    "lava-pyramid": {**LAVA, "beta": 20},
    "lava-nohead": NOHEAD,
}
OFFICIAL = {"value_norm": "prefix", "alpha": 0.2, "floor": "nominal"}  # of LAVa: what the released code does


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


def default_parameters(name, variant):
    parameters = dict(DEFAULTS[name])
    if variant == "official":
        parameters |= {key: value for key, value in OFFICIAL.items() if key in parameters}
    return parameters


def parse_policy(text):
    """NAME[@VARIANT][:KEY=VALUE,...] with the toolkit's defaults for what is not said."""
    head, _, tail = text.partition(":")
    name, _, variant = head.partition("@")
    parameters = default_parameters(name, variant)
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
    if policy.gqa_at == "post_pool":
        return reduce_group(pool(attention, policy.pool, policy.kernel), layer, policy.gqa)
    return pool(reduce_group(attention, layer, policy.gqa), policy.pool, policy.kernel)


def vatp_scores(layer, policy):
    pooled = pool(prefix_attention(layer, policy.window).mean(axis=1), policy.pool, policy.kernel)
    norms = np.repeat(value_norms(layer)[:, : layer.seq_len - policy.window], layer.group_size, axis=0)
    return reduce_group(pooled * norms, layer, policy.gqa)


def lava_scores(layer, policy):
    pooled = pool(prefix_attention(layer, policy.window).mean(axis=1), policy.pool, policy.kernel)
    norms = value_norms(layer)
    if policy.value_norm == "prefix":
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
    sums = layer.observed_attention if policy.diagonal == "on" else layer.observed_attention_off_diagonal
    return reduce_group(sums[:, : layer.seq_len - policy.window], layer, policy.gqa)


def tova_scores(layer, policy):
    attention = prefix_attention(layer, 1)[:, 0]
    if policy.heads == "group":
        return reduce_group(attention, layer, "mean")
    return np.tile(attention.mean(axis=0), (layer.num_kv_heads, 1))


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
