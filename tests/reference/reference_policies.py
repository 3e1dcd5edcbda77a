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
 9. A cache for every query head: keys and values of the group repeated, and the budget is that of a query head.
10. precision=emulate_*: queries, keys and values are rounded first, then every product, reduction, average and norm;
    maxima are exact. CAKE's entropy is that of the rounded attention, in float64.
11. PyramidKV@paper: real-valued numbers with the window inside, rounded down; a table likewise.
12. recent=even: the window stays inside 2 int(B / 2) entries; rows=R asks the last R queries, or all of a shorter prompt.
    recent=half: int(B / 2) for the most recent entries and as many for the best of the rest, sinks among them.
13. normalize under a cascade: every cut weighs the heads anew (the released code keeps the first cut's order).
"""

import dataclasses

import numpy as np

from reference_precision import rounding_of

EMULATION = {"layout": "kv_head", "precision": "fp32"}
POOLED = {"window": 32, "kernel": 7, "pool": "max", "gqa": "mean"}
VATP = {**POOLED, **EMULATION, "score": "window", "rows": 0, "recent": "window", "sinks": 0}
SNAPKV = {**POOLED, "gqa_at": "pre_pool", "reduce": "mean", **EMULATION}
ADA = {**SNAPKV, "alpha": 0.2, "normalize": "off"}
PYRAMID = {"beta": 20, "pyramid_ref_N": 0}
CAKE = {**POOLED, "kernel": 5, "pool": "avg", "gamma": 200.0, "tau1": 1.0, "tau2": 1.0, "cascading": "on"}
NOHEAD = {**POOLED, "gqa": "max", "value_norm": "all", **EMULATION}
HEADS = {"alpha": 0.0, "normalize": "off"}
LAVA = {**NOHEAD, **HEADS, "floor": "layer"}
ERRORS = {"window": 32, "kernel": 7, "unit": "absolute", **HEADS}
COMPOSE = {**POOLED, "score": "attention", "reduce": "mean", "gamma": 200.0, "value_norm": "none", "gqa_at": "pre_pool"}
COMPOSE |= {"unit": "absolute", "layers": "uniform", **PYRAMID, "schedule": "integer", "tau1": 1.0, "tau2": 1.0}
COMPOSE |= {"cascading": "on", "heads": "uniform", "floor": 0.0, "normalize": "off", **EMULATION, "table": "none"}
COMPOSE |= {"rows": 0, "diagonal": "on", "floor_of": "layer", "sinks": 0, "recent": "window", "shared": "max"}
DEFAULTS = {
    "full": {},
    "random": {"window": 32, "seed": 0},
    "streaming-llm": {"sinks": 4, "recent": 0},
    "h2o": {"window": 32, "gqa": "mean", "diagonal": "on", "layout": "kv_head", "recent": "window"},
    "tova": {"heads": "layer", "precision": "fp32"},
    "snapkv": SNAPKV,
    "pyramidkv": {**SNAPKV, **PYRAMID, "schedule": "integer"},
    "vatp": VATP,
    "ada-snapkv": ADA,
    "ada-pyramidkv": {**ADA, **PYRAMID},
    "cake": {**CAKE, "precision": "fp32"},
    "lava": LAVA,
    "lava-uniform": LAVA,
    "lava-pyramid": {**LAVA, **PYRAMID},
    "lava-nohead": NOHEAD,
    "loo": {**ERRORS, "reduce": "max", "pool": "max", "heads": "layer"},
    "dropkv": {**ERRORS, "reduce": "sum", "pool": "none", "heads": "uniform", "gqa": "mean", "project": "none"},
    "compose": COMPOSE,
}
ADAPTIVE = {"ada-snapkv", "ada-pyramidkv", "lava", "lava-uniform", "lava-pyramid"}
OFFICIAL_LAVA = {"value_norm": "prefix", "alpha": 0.2, "floor": "nominal"}
INFERENCE = {**OFFICIAL_LAVA, "alpha": 0.5, "layout": "query_head"}
ADAKV = {"layout": "query_head"}
ADAKV_CLASS = {"window": 64, "kernel": 5, "pool": "avg", **ADAKV}
FACTORY = {"window": 8, "layout": "query_head"}
VARIANTS = {f"{name}@official": OFFICIAL_LAVA for name in ("lava", "lava-uniform", "lava-pyramid", "lava-nohead")}
VARIANTS |= {f"{name}@adakv": ADAKV for name in ("snapkv", "pyramidkv", "ada-snapkv", "ada-pyramidkv")}
VARIANTS |= {f"{name}@official": ADAKV for name in ("ada-snapkv", "ada-pyramidkv")}
VARIANTS |= {f"{name}@adakv-class": ADAKV_CLASS for name in ("snapkv", "pyramidkv")}
VARIANTS |= {
    "streaming-llm@adakv": {},
    "streaming-llm@kvcache-factory": {},
    "streaming-llm@kvcache-factory-needle": {"recent": 32},
    "h2o@kvcache-factory": FACTORY,
    "h2o@official": {"recent": "half", "layout": "query_head"},
    "h2o@paper": {"diagonal": "off"},
    "tova@paper": {"heads": "group"},
    "snapkv@kvcache-factory": {**FACTORY, "reduce": "sum"},
    "pyramidkv@kvcache-factory": {**FACTORY, "reduce": "sum", "schedule": "kvcache-factory"},
    "pyramidkv@paper": {"schedule": "paper"},
    "vatp@paper": {},
    "vatp@official": {"score": "columns", "pool": "none", "recent": "half", "sinks": 20, "layout": "query_head"},
    "vatp@official-scissorhands": {
        "rows": 400, "window": 10, "pool": "none", "recent": "even", "layout": "query_head"},
    "ada-snapkv@kvcache-factory": {**FACTORY, "normalize": "on"},
    "cake@official": {},
    "cake@cakekv": {},
    "cake@paper": {"pool": "max", "kernel": 7},
    "cake@cakekv-llama3.1-8b-1024": {"tau1": 1.6, "tau2": 0.4},
    "cake@cakekv-llama2-7b-128": {"tau1": 0.9, "tau2": 2.3},
    "lava@paper": {},
    "lava@official-inference": INFERENCE,
}


@dataclasses.dataclass
class Policy:
    name: str
    variant: str
    parameters: dict

    @property
    def heads_rule(self):
        """How a layer's heads share its budget: "layer" by its best scores, with alpha as floor, or "uniform"."""
        if self.name in ("loo", "dropkv", "compose"):
            return self.parameters["heads"]
        return "layer" if self.name in ADAPTIVE else "uniform"

    @property
    def head_floor(self):
        """alpha, which compose calls floor"""
        return self.parameters["floor"] if self.name == "compose" else self.parameters["alpha"]

    def __getattr__(self, key):
        try:
            return self.__dict__["parameters"][key]
        except KeyError:
            raise AttributeError(f"{self.__dict__.get('name')} has no parameter {key}") from None


def default_parameters(name, variant):
    different = VARIANTS[f"{name}@{variant}"] if variant else {}
    return DEFAULTS[name] | {key: value for key, value in different.items() if key in DEFAULTS[name]}


def parse_policy(text):
    """NAME[@VARIANT][:KEY=VALUE,...] with the toolkit's defaults for what is not said."""
    head, _, tail = text.partition(":")
    name, _, variant = head.partition("@")
    parameters = default_parameters(name, variant)
    for item in filter(None, tail.split(",")):
        key, _, value = item.partition("=")
        if key not in parameters:
            raise ValueError(f"{name} has no parameter {key}")
        parameters[key] = type(parameters[key])(value)
    return Policy(name, variant, parameters)


# --- scores -----------------------------------------------------------------------------------------------------------


FIRST = 1e30  # the score of what ranks above all else


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def window_attention(layer, window):
    """[Hq, window, N]: attention of the last `window` prompt tokens over what they see of it."""
    if window not in layer.attention_of_window:
        first = layer.seq_len - window
        sees = layer.sees(first + np.arange(window), np.arange(layer.seq_len))
        heads = []
        for head in range(layer.num_heads):
            query = layer.q_window[head, layer.q_window.shape[1] - window :]
            logits = query @ layer.k[head // layer.group_size].T / np.sqrt(layer.k.shape[2])
            heads.append(softmax(np.where(sees, logits, -np.inf)))
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


def emulated_attention(layer, window, precision):
    """[Hq, window, M]: prefix_attention() with everything rounded that a model's type would round."""
    rounded = rounding_of(precision)
    sees = layer.sees(layer.seq_len - window + np.arange(window), np.arange(layer.seq_len))
    heads = []
    for head in range(layer.num_heads):
        query = rounded(layer.q_window[head, layer.q_window.shape[1] - window :])
        product = rounded(query @ rounded(layer.k[head // layer.group_size]).T)
        logits = rounded(product / np.sqrt(layer.k.shape[2]))
        heads.append(rounded(softmax(np.where(sees, logits, -np.inf))))
    return np.stack(heads)[:, :, : layer.seq_len - window]


def attention_of(layer, policy, window):
    emulates = policy.precision != "fp32"
    return emulated_attention(layer, window, policy.precision) if emulates else prefix_attention(layer, window)


def snapkv_scores(layer, policy):
    rounded = rounding_of(policy.precision)
    rows = attention_of(layer, policy, policy.window)
    attention = rounded({"mean": np.mean, "sum": np.sum, "max": np.max}[policy.reduce](rows, axis=1))
    if policy.gqa_at == "post_pool":
        return rounded(reduce_group(rounded(pool(attention, policy.pool, policy.kernel)), layer, policy.gqa))
    return rounded(pool(rounded(reduce_group(attention, layer, policy.gqa)), policy.pool, policy.kernel))


def norms_of(layer, policy):
    """[Hkv, N]"""
    rounded = rounding_of(policy.precision)
    return rounded(np.abs(rounded(layer.v)).sum(axis=-1))


def vatp_scores(layer, policy):
    rounded, scored = rounding_of(policy.precision), layer.seq_len - protected_window(policy)
    if policy.score == "columns":
        attention = layer.observed_attention[:, :scored]
    elif policy.rows > 0:
        assert policy.precision == "fp32"
        attention = window_attention(layer, min(policy.rows, layer.seq_len))[:, :, :scored].mean(axis=1)
    else:
        attention = rounded(attention_of(layer, policy, policy.window).mean(axis=1))
    pooled = rounded(pool(attention, policy.pool, policy.kernel))
    norms = np.repeat(norms_of(layer, policy)[:, :scored], layer.group_size, axis=0)
    scores = rounded(reduce_group(rounded(pooled * norms), layer, policy.gqa))
    scores[:, : policy.sinks] = FIRST
    return scores


def lava_scores(layer, policy):
    rounded = rounding_of(policy.precision)
    mean = rounded(attention_of(layer, policy, policy.window).mean(axis=1))
    pooled = rounded(pool(mean, policy.pool, policy.kernel))
    norms = norms_of(layer, policy)
    if policy.value_norm == "prefix":
        norms = norms[:, : layer.seq_len - policy.window]
    largest = np.repeat(norms.max(axis=1), layer.group_size)
    return rounded(reduce_group(rounded(pooled * largest[:, None]), layer, policy.gqa))


def emulated_entropy(scores, precision):
    """lava_entropy() with every step rounded."""
    rounded = rounding_of(precision)
    shares = rounded(scores.flatten() / rounded(rounded(scores.sum()) + 1e-16))
    terms = rounded(shares * rounded(np.log(rounded(shares + 1e-16))))
    return float(rounded(-rounded(terms.sum()) / np.log(scores.size)))


def lava_entropy(scores):
    shares = scores.flatten() / (scores.sum() + 1e-16)
    return -np.sum(shares * np.log(shares + 1e-16)) / np.log(scores.size)


def cake_scores(layer, policy):
    rounded = rounding_of(policy.precision)
    attention = attention_of(layer, policy, policy.window)
    variance = rounded(attention.var(axis=1, ddof=1))
    spread = rounded(rounded(attention.mean(axis=1)) + rounded(policy.gamma * variance))
    return rounded(reduce_group(rounded(pool(spread, policy.pool, policy.kernel)), layer, policy.gqa))


def cake_preference(layer, policy):
    rounded = rounding_of(policy.precision)
    attention = attention_of(layer, policy, policy.window)
    entropy = -np.sum(attention * np.log(attention + 1e-10))
    by_position = rounded(rounded(attention.var(axis=1, ddof=1)).sum(axis=0))
    variance = rounded(by_position.sum())
    return entropy ** (1 / policy.tau1) * float(rounded(variance ** (1 / policy.tau2)))


def h2o_scores(layer, policy):
    sums = layer.observed_attention if policy.diagonal == "on" else layer.observed_attention_off_diagonal
    return reduce_group(sums[:, : layer.seq_len - protected_window(policy)], layer, policy.gqa)


def tova_scores(layer, policy):
    rounded = rounding_of(policy.precision)
    attention = attention_of(layer, policy, 1)[:, 0]
    if policy.heads == "group":
        return rounded(reduce_group(attention, layer, "mean"))
    return np.tile(rounded(attention.mean(axis=0)), (layer.num_kv_heads, 1))


def scorers():
    """The function that scores a layer, by policy; none for what is ranked without scores."""
    from reference_compose import compose_scores  # both build on what stands above
    from reference_errors import dropkv_scores, loo_scores

    by_name = {"h2o": h2o_scores, "tova": tova_scores, "vatp": vatp_scores, "cake": cake_scores}
    by_name |= dict.fromkeys(["snapkv", "pyramidkv", "ada-snapkv", "ada-pyramidkv"], snapkv_scores)
    by_name |= dict.fromkeys(["lava", "lava-uniform", "lava-pyramid", "lava-nohead"], lava_scores)
    return by_name | {"loo": loo_scores, "dropkv": dropkv_scores, "compose": compose_scores}


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


def protected_window(policy):
    """Recent tokens that always stay; where half of the budget is the most recent's, that is settled later."""
    if policy.parameters.get("recent") == "half":
        return 0
    return 1 if policy.name == "tova" else policy.parameters.get("window", policy.parameters.get("recent", 0))


def by_query_head(layer):
    """The layer where every query head has a cache of its own: keys and values of the group repeated."""
    repeated = {name: np.repeat(getattr(layer, name), layer.group_size, axis=0) for name in ("k", "v")}
    for name in ("k_eval", "v_eval"):
        if getattr(layer, name) is not None:
            repeated[name] = np.repeat(getattr(layer, name), layer.group_size, axis=0)
    return dataclasses.replace(layer, **repeated)


def seen_by(layers, policy):
    """The layers as the policy sees them."""
    return [by_query_head(x) for x in layers] if policy.parameters.get("layout") == "query_head" else layers


def weights_of(layers, policy, entries):
    """Per layer: its claim on the total budget, None where the policy has none."""
    from reference_compose import compose_weights

    if policy.name == "compose":
        return compose_weights(layers, policy, entries)
    if policy.name == "cake":
        return [cake_preference(layer, policy) for layer in layers]
    if policy.name in ("lava", "lava-nohead") and policy.precision != "fp32":
        return [emulated_entropy(scores, policy.precision) for scores in entries]
    if policy.name in ("lava", "lava-nohead"):
        return [lava_entropy(scores) for scores in entries]
    return [None] * len(layers)


def score(layers, policy):
    """What a policy needs of every layer before it is told a budget."""
    layers, scorer = seen_by(layers, policy), scorers().get(policy.name)
    entries = [scorer(layer, policy) if scorer else None for layer in layers]
    weights = weights_of(layers, policy, entries)
    if policy.name == "compose" and policy.heads == "shared":
        from reference_compose import shared_by_heads

        entries = [shared_by_heads(scores, policy.shared) for scores in entries]
    return Scores(policy, layers[0].seq_len, protected_window(policy), entries, weights, layers[0].num_kv_heads)
