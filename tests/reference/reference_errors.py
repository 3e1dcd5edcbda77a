"""What evicting one entry alone changes, by evicting it: attention renormalised without it, outputs recomputed."""

import numpy as np

from reference_policies import pool, reduce_group, window_attention


def rows_without(rows, entry):
    """rows [w, N] of attention, once the entry is gone; as they are where it is not seen."""
    rest = rows.copy()
    rest[:, entry] = 0
    return np.where(rows[:, entry, None] > 0, rest / rest.sum(axis=1, keepdims=True), rows)


def output_change(layer, window, head):
    """[M, w, d]: how far a query head's output moves when each entry goes."""
    key = (window, head)
    if key not in layer.output_changes:
        rows, values = window_attention(layer, window)[head], layer.v[head // layer.group_size]
        output = rows @ values
        moved = [output - rows_without(rows, entry) @ values for entry in range(layer.seq_len - window)]
        layer.output_changes[key] = np.stack(moved)
    return layer.output_changes[key]


def written_norms(layer, policy):
    """[w]: squared norm of what the layer writes for each query of the window."""
    attention = window_attention(layer, policy.window)
    outputs = [rows @ layer.v[head // layer.group_size] for head, rows in enumerate(attention)]
    written = np.concatenate(outputs, axis=-1) @ layer.w_o.T
    return np.square(written + (0 if layer.b_o is None else layer.b_o)).sum(axis=1)


def projections(layer):
    """[Hq, d, D]: the rows of W_O that each query head meets."""
    width = layer.k.shape[2]
    return np.stack([layer.w_o[:, head * width : (head + 1) * width].T for head in range(layer.num_heads)])


def squared_errors(layer, policy, source):
    """[Hkv or Hq, M, w]"""
    errors, together = [], layer.group_size if source == "loo" else 1
    w_o = projections(layer)
    for first in range(0, layer.num_heads, together):
        change = 0
        for head in range(first, first + together):
            moved = output_change(layer, policy.window, head)
            change = change + (moved if source == "dropkv" else moved @ w_o[head])
        errors.append(np.square(change).sum(axis=-1))
    errors = np.stack(errors)
    return errors / written_norms(layer, policy) if policy.parameters.get("unit") == "relative" else errors


def error_scores(layer, policy, source):
    """[Hkv, M], or [Hq, M] before the group is reduced: over the window's queries, not pooled."""
    reduce = {"mean": np.mean, "sum": np.sum, "max": np.max}[policy.reduce]
    return reduce(squared_errors(layer, policy, source), axis=2)


def loo_scores(layer, policy):
    return pool(error_scores(layer, policy, "loo"), policy.pool, policy.kernel)


def dropkv_scores(layer, policy):
    source = "dropkv-wo" if policy.project == "wo" else "dropkv"
    return reduce_group(pool(error_scores(layer, policy, source), policy.pool, policy.kernel), layer, policy.gqa)
