"""Losses of a retained set, naively: mask the attention, renormalise it, multiply. Float64, one layer at a time.

T evaluation steps; step j sees the prompt's N entries and the decode entries N .. N + j, which are never evicted, or as
many of the last of these as the layer's sliding window holds."""

import dataclasses

import numpy as np

from reference_policies import softmax


@dataclasses.dataclass
class Dense:
    """What a layer computes with the whole cache."""

    attention: np.ndarray  # [Hq, T, N + T], 0 where a step does not see the entry
    values: np.ndarray  # [Hkv, N + T, d]
    head_output: np.ndarray  # [Hq, T, d]
    attn_out: np.ndarray  # [T, D], b_o included
    row_sum: float  # largest sum over the output of |W_O[r][c]|
    value_norm: np.ndarray  # [Hq, T] largest ||v_i||_1 that the step sees
    projected_norm: np.ndarray  # [Hq, T] largest ||v_i W_O,h||_1 that the step sees


def seen_by_steps(layer, steps):
    """[T, N + T] bool"""
    return layer.sees(layer.seq_len + np.arange(steps), np.arange(layer.seq_len + steps))


def eval_attention(layer):
    """[Hq, T, N + T]"""
    steps = layer.q_eval.shape[1]
    sees = seen_by_steps(layer, steps)
    heads = []
    for head in range(layer.num_heads):
        kv_head = head // layer.group_size
        keys = np.concatenate([layer.k[kv_head], layer.k_eval[kv_head]])
        logits = layer.q_eval[head] @ keys.T / np.sqrt(keys.shape[1])
        heads.append(softmax(np.where(sees, logits, -np.inf)))
    return np.stack(heads)


def head_outputs(layer, attention, values):
    """[Hq, T, d]"""
    return np.stack([attention[head] @ values[head // layer.group_size] for head in range(layer.num_heads)])


def projected(layer, head_output):
    """[Hq, T, d] -> [T, D], without b_o"""
    return np.concatenate(list(head_output), axis=-1) @ layer.w_o.T


def largest_seen(norms, layer):
    """[Hq, N + T] -> [Hq, T]: the largest over the entries that each step sees"""
    sees = seen_by_steps(layer, norms.shape[1] - layer.seq_len)
    return np.where(sees[None], norms[:, None, :], 0).max(axis=-1)


def dense(layer):
    attention = eval_attention(layer)
    values = np.concatenate([layer.v, layer.v_eval], axis=1)
    outputs = head_outputs(layer, attention, values)
    attn_out = projected(layer, outputs) + (0 if layer.b_o is None else layer.b_o)
    head_dim, norms, projected_norms = values.shape[2], [], []
    for head in range(layer.num_heads):
        own = values[head // layer.group_size]
        block = layer.w_o[:, head * head_dim : (head + 1) * head_dim]
        norms.append(np.abs(own).sum(axis=-1))
        projected_norms.append(np.abs(own @ block.T).sum(axis=-1))
    return Dense(
        attention,
        values,
        outputs,
        attn_out,
        np.abs(layer.w_o).sum(axis=0).max(),
        largest_seen(np.stack(norms), layer),
        largest_seen(np.stack(projected_norms), layer),
    )


def norm(values, order):
    return np.abs(values).sum(axis=-1) if order == 1 else np.sqrt((values * values).sum(axis=-1))


def losses(layer, full, kept):
    """kept: [Hkv, N] bool. Per step: head_* [Hq, T], the rest [T]."""
    steps = full.attention.shape[1]
    mask = np.concatenate([kept, np.ones((kept.shape[0], steps), dtype=bool)], axis=1)
    mask = np.repeat(mask, layer.group_size, axis=0)[:, None, :]
    surviving = full.attention * mask
    evicted = (full.attention * ~mask).sum(axis=-1)
    change = full.attention - surviving / surviving.sum(axis=-1, keepdims=True)
    outputs = head_outputs(layer, change, full.values)
    attn_out = projected(layer, outputs)
    loosest = full.projected_norm.max(axis=0)
    return {
        "head_l1": norm(change, 1),
        "head_output_l1": norm(outputs, 1),
        "head_output_l2": norm(outputs, 2),
        "attn_out_l1": norm(attn_out, 1),
        "attn_out_l2": norm(attn_out, 2),
        "bound_lava": 2 * full.row_sum * (full.value_norm * evicted).sum(axis=0),
        "bound_adakv": 2 * loosest * evicted.sum(axis=0),
        "bound_projected": 2 * (full.projected_norm * evicted).sum(axis=0),
    }


def uncompressed_norms(full):
    return {
        "head_output_l1": norm(full.head_output, 1),
        "head_output_l2": norm(full.head_output, 2),
        "attn_out_l1": norm(full.attn_out, 1),
        "attn_out_l2": norm(full.attn_out, 2),
    }


def span_survival(kept, begin, end):
    """Kept entries of the span over all layers and heads, as a share of what was there. kept: [L, Hkv, N]"""
    return kept[:, :, begin:end].mean()


def global_eviction_ratio(kept, begin, end):
    """Share of the span's tokens that no head of any layer keeps."""
    return 1 - kept[:, :, begin:end].any(axis=(0, 1)).mean()
