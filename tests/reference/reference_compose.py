"""compose: any score, pooling, layer rule and head rule, straight from the list of pieces."""

import numpy as np

import reference_errors
from reference_errors import projections
from reference_policies import FIRST, cake_preference, lava_entropy, pool, protected_window, reduce_group, value_norms
from reference_policies import window_attention


def query_scores(layer, policy):
    """[Hq, M], or [Hkv, M] for loo: before pooling and grouping."""
    evictable = layer.seq_len - protected_window(policy)
    if policy.score == "columns":
        sums = layer.observed_attention if policy.diagonal == "on" else layer.observed_attention_off_diagonal
        return sums[:, :evictable]
    if policy.score in ("loo", "dropkv", "dropkv-wo"):
        return reference_errors.error_scores(layer, policy, policy.score)
    rows = window_attention(layer, min(policy.rows or policy.window, layer.seq_len))[:, :, :evictable]
    if policy.score == "last":
        rows = rows[:, -1:]
    if policy.reduce == "variance":
        return rows.mean(axis=1) + policy.gamma * rows.var(axis=1, ddof=1)
    return {"mean": np.mean, "sum": np.sum, "max": np.max}[policy.reduce](rows, axis=1)


def projected_norms(layer):
    """[Hkv, N]: ||v W_O,h||_1, the mean over the group's query heads h"""
    norms = [np.abs(layer.v[head // layer.group_size] @ w).sum(axis=1) for head, w in enumerate(projections(layer))]
    return np.stack(norms).reshape(layer.num_kv_heads, layer.group_size, -1).mean(axis=1)


def weights(layer, policy):
    """[Hkv, M]"""
    norms, evictable = value_norms(layer), layer.seq_len - protected_window(policy)
    if policy.value_norm == "none":
        return np.ones((layer.num_kv_heads, evictable))
    if policy.value_norm == "token":
        return norms[:, :evictable]
    if policy.value_norm == "projected":
        return projected_norms(layer)[:, :evictable]
    largest = norms[:, :evictable] if policy.value_norm == "prefix" else norms
    return np.repeat(largest.max(axis=1)[:, None], evictable, axis=1)


def of_kv_heads(scores, layer, policy):
    """[Hq, ...] -> [Hkv, ...]"""
    if policy.gqa == "layer":
        return np.tile(scores.mean(axis=0), (layer.num_kv_heads, 1))
    return reduce_group(scores, layer, policy.gqa)


def scores_before_sinks(layer, policy):
    scores = query_scores(layer, policy)
    if policy.score == "loo":
        return pool(scores, policy.pool, policy.kernel) * weights(layer, policy)
    if policy.gqa_at == "pre_pool":
        return pool(of_kv_heads(scores, layer, policy), policy.pool, policy.kernel) * weights(layer, policy)
    each = np.repeat(weights(layer, policy), layer.group_size, axis=0)
    return of_kv_heads(pool(scores, policy.pool, policy.kernel) * each, layer, policy)


def compose_scores(layer, policy):
    scores = scores_before_sinks(layer, policy)
    scores[:, : policy.sinks] = FIRST
    return scores


def shared_by_heads(scores, how):
    """[Hkv, M]: one order for all heads; union: an entry's best place in any of theirs."""
    if how == "union":
        places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
        best = -places.min(axis=0).astype(float)
    else:
        best = {"mean": np.mean, "max": np.max}[how](scores, axis=0)
    return np.tile(best, (len(scores), 1))


def compose_weights(layers, policy, entries):
    """Per layer, its claim on the total."""
    if policy.layers == "entropy":
        return [lava_entropy(scores) for scores in entries]
    if policy.layers == "preference":
        return [cake_preference(layer, policy) for layer in layers]
    return [None] * len(layers)
