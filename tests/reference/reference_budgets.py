"""Budgets and selection of every policy: from scores and a budget to the retained set, step by step as the papers' codes
do it (cascades included), in plain numpy. How open choices were read stands in reference_policies.py."""

import dataclasses

import numpy as np

from reference_policies import FIRST
from reference_precision import rounding_of


def canonical_order(values):
    """Largest first; equal values in the order in which they stand."""
    return np.argsort(-np.asarray(values), axis=-1, kind="stable")


def paper_pyramid(budget, beta, num_layers, window):
    """budget / beta in the last layer, the mirror of it in the first, linear between, window included, rounded down."""
    if num_layers == 1:
        return [budget - window]
    last = budget / beta
    first = 2 * budget - last
    entries = [first - (first - last) * layer / (num_layers - 1) for layer in range(num_layers)]
    return [max(int(number) - window, 0) for number in entries]


def table_numbers(path, budget, window):
    """The table's second column, scaled so that its mean is the budget."""
    with open(path) as file:
        column = [float(line.split(",")[1]) for line in file.read().split("\n")[1:] if line]
    return [max(int(number * (budget * len(column)) / sum(column)) - window, 0) for number in column]


def pyramid(budget, beta, num_layers, seq_len, window):
    """Evictable entries per layer of the integer schedule."""
    if num_layers == 1:
        return [budget]
    least = budget // beta
    most = 2 * budget - least
    if most >= seq_len - window:
        most = seq_len - window
        least = 2 * budget - most
    step = (most - least) // (num_layers - 1)
    return [most - layer * step for layer in range(num_layers)]


def head_counts(scores, total):
    """[Hkv]: how many of the layer's `total` largest scores lie in each head. Equal scores: the lower head first, since
    the heads' sorted scores stand one after the other."""
    heads, entries = scores.shape
    flat = np.concatenate([np.sort(head)[::-1] for head in scores])
    chosen = canonical_order(flat)[:total]
    return np.bincount(chosen // entries, minlength=heads)


def mixed_capacities(counts, alpha, floor):
    """[Hkv]: AdaKV's mix of adaptive count and floor, in float32 and rounded half to even."""
    mixed = np.asarray(counts).astype(np.float32) * np.float32(1 - alpha) + np.float32(floor)
    return np.rint(mixed).astype(np.int64)


def weighed_heads(scores, budget, policy):
    """Each head's scores times the share of its mass that its top `budget` entries hold; scores as they are if "off"."""
    if policy.normalize != "on":
        return scores
    rounded = rounding_of(policy.parameters.get("precision"))
    best = -np.sort(-scores, axis=1)[:, :budget]
    return rounded(scores * rounded(rounded(best.sum(axis=1)) / rounded(scores.sum(axis=1)))[:, None])


def floor_of(policy, budget, layer_budget):
    """AdaKV takes alpha of the layer's own number; LAVa's released code of the nominal budget, window included."""
    nominal = "nominal" in (policy.parameters.get("floor"), policy.parameters.get("floor_of"))
    return int(policy.head_floor * (budget if nominal else layer_budget))


def adaptive_capacities(scores, policy, budget, layer_budget):
    weighed = weighed_heads(scores, layer_budget, policy)
    counts = head_counts(weighed, scores.shape[0] * layer_budget)
    return mixed_capacities(counts, policy.head_floor, floor_of(policy, budget, layer_budget))


def layer_shares(weights, total):
    """Real-valued share of `total` that each of the layers seen so far claims."""
    if sum(weights) == 0:
        return [total / len(weights)] * len(weights)
    return [weight / sum(weights) * total for weight in weights]


def spread_evenly(budgets, chosen, amount, sign):
    """Adds `amount` over the chosen layers, the remainder one by one to the first of them."""
    places = np.flatnonzero(chosen)
    if amount == 0 or places.size == 0:
        return budgets
    budgets = budgets.copy()
    budgets[places] += sign * (amount // places.size)
    budgets[places[: amount % places.size]] += sign
    return budgets


def cake_adjust(shares, total, most):
    """CAKE's integer budgets: truncate, move what exceeds `most`, then hand out what truncation lost."""
    budgets = np.trunc(shares).astype(np.int64)
    excess = int(np.maximum(budgets - most, 0).sum())
    budgets = np.minimum(budgets, most)
    budgets = spread_evenly(budgets, budgets < most, excess, +1)
    lacking = int(total - budgets.sum())
    if lacking >= 0:
        return spread_evenly(budgets, budgets < most, lacking, +1)
    return spread_evenly(budgets, budgets > 1, -lacking, -1)


@dataclasses.dataclass
class Allocation:
    capacity: np.ndarray  # [L, Hkv], evictable entries as the rule left them
    held: np.ndarray  # [L, Hkv], evictable entries really kept
    layer_budget: list  # per layer: evictable entries per KV head before the head rule; None where there is no such rule
    fragile: bool = False  # a share lay so near an integer that float32 scores may truncate to another one


def near_integer(share):
    return abs(share - round(share)) <= 1e-5 * max(share, 1.0)


def clipped(capacity, evictable, layer_budget, fragile=False):
    capacity = np.asarray(capacity, dtype=np.int64)
    return Allocation(capacity, np.clip(capacity, 0, evictable), layer_budget, fragile)


def uniform_heads(scores, budgets, fragile=False):
    capacity = [[budget] * scores.num_kv_heads for budget in budgets]
    return clipped(capacity, scores.evictable, list(budgets), fragile)


def adaptive_heads(scores, budget, layer_budgets):
    """Every layer splits its budget over its heads; a layer whose budget exceeds what is there keeps all."""
    capacity = []
    for entries, layer_budget in zip(scores.entries, layer_budgets):
        if layer_budget > scores.evictable:
            capacity.append([layer_budget] * scores.num_kv_heads)
        else:
            capacity.append(adaptive_capacities(entries, scores.policy, budget, layer_budget))
    return clipped(capacity, scores.evictable, list(layer_budgets))


def cake_cascade(scores, budget):
    """After every layer of the prefill all layers so far are cut to their new share, of what they still hold."""
    evictable, layers = scores.evictable, scores.num_layers
    shape = (layers, scores.num_kv_heads)
    if scores.seq_len <= budget + scores.window:
        return Allocation(np.full(shape, budget - scores.window), np.full(shape, evictable), None)
    total = (budget - scores.window) * layers
    held = [[canonical_order(head) for head in entries] for entries in scores.entries]
    fragile = False
    for layer in range(layers) if scores.policy.cascading == "on" else [layers - 1]:
        shares = layer_shares(scores.weights[: layer + 1], total)
        budgets = cake_adjust(shares, total, evictable)
        fragile |= any(near_integer(share) for share in shares) and layer > 0
        for done, allowed in enumerate(budgets):
            held[done] = [head[: min(allowed, evictable)] for head in held[done]]
    capacity = np.repeat(np.asarray(budgets)[:, None], scores.num_kv_heads, axis=1)
    kept = np.array([[len(head) for head in heads] for heads in held])
    return Allocation(capacity, kept, list(budgets), fragile)


def lava_cascade(scores, budget):
    """After every layer all layers so far are recompressed with their new share; a share above M compresses nothing."""
    evictable, layers = scores.evictable, scores.num_layers
    total = (budget - scores.window) * layers
    capacity, last = [None] * layers, [None] * layers
    held = np.full((layers, scores.num_kv_heads), evictable)
    for layer in range(layers):
        shares = layer_shares(scores.weights[: layer + 1], total)
        for done, share in enumerate(shares):
            allowed = int(share)
            if allowed > (evictable if last[done] is None else last[done]):
                continue
            capacity[done] = adaptive_capacities(scores.entries[done], scores.policy, budget, allowed)
            held[done] = np.minimum(held[done], capacity[done])
            last[done] = allowed
    final = [int(share) for share in shares]
    capacity = [[b] * scores.num_kv_heads if c is None else c for b, c in zip(final, capacity)]
    return Allocation(np.array(capacity), held, final, layers > 1 and any(map(near_integer, shares)))


def model_wide_counts(scores, total):
    """[L, Hkv]: where the model's `total` largest scores lie; equal scores: the lower layer, then the lower head."""
    per_head = [np.sort(head)[::-1] for entries in scores.entries for head in entries]
    chosen = canonical_order(np.concatenate(per_head))[:total]
    counts = np.bincount(chosen // scores.evictable, minlength=len(per_head))
    return counts.reshape(scores.num_layers, scores.num_kv_heads)


def pyramid_numbers(scores, budget):
    policy, prefix = scores.policy, budget - scores.window
    schedule = policy.parameters.get("schedule", "integer")
    if schedule == "paper":
        return paper_pyramid(budget, policy.beta, scores.num_layers, scores.window)
    if schedule == "kvcache-factory" and scores.seq_len < 2 * prefix:
        return [prefix] * scores.num_layers
    first = policy.pyramid_ref_N if schedule == "integer" and policy.pyramid_ref_N else scores.seq_len
    return pyramid(prefix, policy.beta, scores.num_layers, first, scores.window)


def layer_rule(scores):
    name = scores.policy.name
    if name == "compose":
        return scores.policy.layers
    if "pyramid" in name:
        return "pyramid"
    return {"cake": "preference", "lava": "entropy", "lava-nohead": "entropy"}.get(name, "uniform")


def layer_numbers(scores, budget):
    """Per layer: evictable entries per KV head; and whether one of them may be off by one in float32."""
    rule, prefix, layers = layer_rule(scores), budget - scores.window, scores.num_layers
    if rule == "pyramid":
        return pyramid_numbers(scores, budget), False
    if rule == "entropy":
        shares = layer_shares(scores.weights, prefix * layers)
        return [int(x) for x in shares], layers > 1 and any(map(near_integer, shares))
    if rule == "model":
        counts = model_wide_counts(scores, prefix * layers * scores.num_kv_heads)
        return [int(x) for x in counts.sum(axis=1) // scores.num_kv_heads], True
    if rule == "table":
        return table_numbers(scores.policy.table, budget, scores.window), False
    return [prefix] * layers, False


def allocate(scores, budget):
    """Evictable entries that each KV head keeps at `budget` entries per KV head, window included."""
    policy, rule = scores.policy, layer_rule(scores)
    if policy.name == "full":
        return uniform_heads(scores, [scores.evictable] * scores.num_layers)
    if rule == "preference":
        return cake_cascade(scores, budget)
    if rule == "entropy" and policy.heads_rule == "layer":
        return lava_cascade(scores, budget)
    if rule == "model" and policy.heads_rule == "layer" and policy.head_floor == 0 and policy.normalize == "off":
        total = (budget - scores.window) * scores.num_layers * scores.num_kv_heads
        return clipped(model_wide_counts(scores, total), scores.evictable, None, True)
    if policy.parameters.get("recent") == "half":
        return uniform_heads(scores, [2 * (budget // 2)] * scores.num_layers)
    if policy.parameters.get("recent") == "even":
        return uniform_heads(scores, [2 * (budget // 2) - scores.window] * scores.num_layers)
    numbers, fragile = layer_numbers(scores, budget)
    if policy.heads_rule == "layer":
        return dataclasses.replace(adaptive_heads(scores, budget, numbers), fragile=fragile)
    return uniform_heads(scores, numbers, fragile)


@dataclasses.dataclass
class Retained:
    kept: np.ndarray  # [L, Hkv, N] bool
    allocation: Allocation
    asked: int
    granted: int

    @property
    def retained(self):
        return int(self.kept.sum())


def select(scores, held):
    """[L, Hkv, N]: the best `held` entries of every head and the window."""
    kept = np.zeros(held.shape + (scores.seq_len,), dtype=bool)
    kept[:, :, scores.evictable :] = True
    for layer, head in np.ndindex(held.shape):
        if scores.policy.name == "full":
            chosen = np.arange(held[layer, head])
        elif scores.policy.name == "streaming-llm":
            chosen = streaming_positions(held[layer, head], scores.policy, scores.seq_len)
        elif scores.policy.name == "random":
            chosen = random_positions(scores, layer, head)[: held[layer, head]]
        else:
            chosen = canonical_order(scores.entries[layer][head])[: held[layer, head]]
        kept[layer, head, chosen] = True
    return kept


def streaming_positions(count, policy, seq_len):
    if policy.recent:
        return np.arange(count)
    sinks = policy.sinks
    return np.concatenate([np.arange(sinks), np.arange(seq_len - (count - sinks), seq_len)])


def random_positions(scores, layer, head):
    """Some random order; which one is the implementation's own affair."""
    return np.random.default_rng([scores.policy.seed, layer, head]).permutation(scores.evictable)


def at_budget(scores, budget):
    """The scores that a policy ranks by at this budget."""
    if scores.policy.parameters.get("recent") != "half":
        return scores
    recent = np.arange(scores.seq_len) >= scores.seq_len - budget // 2
    return dataclasses.replace(scores, entries=[np.where(recent, FIRST, entries) for entries in scores.entries])


def retain(scores, budget):
    scores = at_budget(scores, budget)
    allocation = allocate(scores, budget)
    kept = select(scores, allocation.held)
    heads = scores.num_layers * scores.num_kv_heads
    granted = int(allocation.capacity.sum()) + scores.window * heads
    return Retained(kept, allocation, budget * heads, granted)
