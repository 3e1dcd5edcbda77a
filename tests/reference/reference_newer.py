"""Policies of 2025 and 2026 written down a second time, in plain float64 numpy: from their authors' descriptions and the
behaviour of kvpress 0.5.5 and FFY0/DefensiveKV, nothing shared with replay/.

Shapes as in reference_policies.py. Where the sources leave a choice:
 1. A base's window, which it never evicts, scores the layer's largest score plus 1 (kvpress's SnapKV).
 2. CapKV's mean query and rotary embedding are the trace's; the first four tokens rank above all others.
 3. DefensiveKV's limit on its first stage counts the entries before the window, as the released code does (its q_len is
    the cut values'); a negative limit is a Python slice's.
 4. Merging looks for the most similar kept key in the order of the ranking, so that the first of equal ones is taken.
 5. CaM runs once, at the end of the prompt: every evicted entry is a candidate, attention is the mean column sum of the
    group over all the prompt's queries.
 6. A budget in entries stands for the compression ratio 1 - B / N.
"""

import numpy as np

import reference_policies
from reference_policies import pool, prefix_attention, reduce_group, window_attention


def parse(text):
    """(name, variant, {key: value}) of NAME[@VARIANT][:KEY=VALUE,...]; values in brackets may hold commas."""
    head, _, tail = text.partition(":")
    name, _, variant = head.partition("@")
    parameters, depth, start = {}, 0, 0
    for end, letter in enumerate(tail + ","):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0 and end > start:
            key, _, value = tail[start:end].partition("=")
            parameters[key.strip()] = value[1:-1] if value.startswith("[") else value
        start = end + 1 if letter == "," and depth == 0 else start
    return name, variant, parameters


def whole_scores(layers, base):
    """Per layer [Hkv, N]: scores of a policy that reference_policies knows, its window above all."""
    scores = reference_policies.score(layers, reference_policies.parse_policy(base))
    result = []
    for entries in scores.entries:
        window = np.full((entries.shape[0], scores.window), entries.max() + 1)
        result.append(np.concatenate([entries, window], axis=1))
    return result


# --- CUR --------------------------------------------------------------------------------------------------------------


def shares(values, axis=-1):
    total = values.sum(axis=axis, keepdims=True)
    return values / np.where(total == 0, 1, total)


def squared_norms(vectors, block):
    squares = (vectors**2).sum(axis=-1)
    if block:
        for begin in range(0, squares.shape[1], block):
            squares[:, begin : begin + block] = shares(squares[:, begin : begin + block])
    return squares


def cur_scores(layer, sinks=4, leverage="kv_product", local="on", block=16):
    block = int(block) if local == "on" else 0
    keys, values = squared_norms(layer.k, block), squared_norms(layer.v, block)
    made = {"key": keys, "value": values, "kv_avg": (keys + values) / 2, "kv_product": keys * values}[leverage]
    scores = shares(made)
    scores[:, : int(sinks)] = 1
    return scores


# --- CapKV ------------------------------------------------------------------------------------------------------------


def turned(vector, position, inv_freq, scaling):
    """Rotary embedding of one vector: the pairs (i, i + r) turn by position * inv_freq[i]."""
    half, result = len(inv_freq), vector.copy()
    cosine, sine = np.cos(position * inv_freq), np.sin(position * inv_freq)
    result[:half] = scaling * (vector[:half] * cosine - vector[half : 2 * half] * sine)
    result[half : 2 * half] = scaling * (vector[half : 2 * half] * cosine + vector[:half] * sine)
    return result


def capkv_scores(layer, rope, tau=5.0, future=512):
    inv_freq, scaling = rope
    sinks, n, heads = 4, layer.seq_len, []
    for head in range(layer.num_heads):
        mean = layer.q_pre_rope_mean[head]
        anchor = np.mean([turned(mean, n + i, inv_freq, scaling) for i in range(int(future))], axis=0)
        keys, values = layer.k[head // layer.group_size, sinks:], layer.v[head // layer.group_size, sinks:]
        cosine = keys @ anchor / np.linalg.norm(keys, axis=1) / np.linalg.norm(anchor)
        weights = np.exp(float(tau) * (cosine - cosine.max()))
        covariance = np.eye(keys.shape[1]) + (values * (weights + 1e-6)[:, None]).T @ values
        heads.append(weights * np.einsum("nd,nd->n", values @ np.linalg.inv(covariance), values))
    scores = reduce_group(np.stack(heads), layer, "mean")
    return np.concatenate([np.full((scores.shape[0], sinks), scores.max() + 1), scores], axis=1)


# --- DefensiveKV ------------------------------------------------------------------------------------------------------


def projected_norms(layer):
    """[Hkv, N]: ||v W_O,h||_1, mean over the group"""
    head_dim, norms = layer.k.shape[2], []
    for head in range(layer.num_heads):
        block = layer.w_o[:, head * head_dim : (head + 1) * head_dim]
        norms.append(np.abs(layer.v[head // layer.group_size] @ block.T).sum(axis=1))
    return reduce_group(np.stack(norms), layer, "mean")


def defensive_scores(layer, budget, window=32, kernel=5, threshold=0.9, bias="prefix"):
    """(least, most) scores [Hkv, N] of every entry: they differ where rounding decides whether the first stage takes it."""
    window = int(window)
    attention = prefix_attention(layer, window)  # [Hq, w, M]
    prefix = attention.shape[2]
    pooled = shares(pool(attention, "avg", int(kernel))) * attention.sum(axis=-1, keepdims=True)
    worst = reduce_group(pooled.max(axis=1), layer, "max")
    scores = np.maximum(worst, worst.mean(axis=1, keepdims=True))
    scores = scores * shares(projected_norms(layer)[:, :prefix], axis=0)
    biased = window_attention(layer, window)[:, :, prefix:] if bias == "window" else attention[:, :, -window:]
    goal = float(threshold) - biased.sum(axis=-1).mean()
    limit = int(prefix * budget / layer.seq_len - window)
    mean = shares(reduce_group(attention.mean(axis=1), layer, "mean"))
    least, most = scores.copy(), scores.copy()
    for head, share in enumerate(mean):
        order = np.argsort(-share, kind="stable")
        sums = np.cumsum(share[order])
        for target, off in ((least, -1e-5), (most, 1e-5)):
            reached = np.flatnonzero(sums >= goal + off)
            count = min(reached[0] if reached.size else 0, limit)
            at_cut = share[order[count - 1]] if count > 0 else np.inf
            chosen = order[:count] if count < 0 else np.flatnonzero(share >= at_cut * (1 - np.sign(off) * 1e-5))
            target[head, chosen] = scores.max()
    rest = np.full((scores.shape[0], window), scores.max())
    return np.concatenate([least, rest], axis=1), np.concatenate([most, rest], axis=1)


# --- entropy-gated chunks ---------------------------------------------------------------------------------------------


def chunk_entropy(scores):
    if scores.size == 1:
        return 0.0
    raised = scores - min(scores.min(), 0.0)
    share = raised / (raised.sum() + 1e-8)
    return float(np.clip(-(share * np.log(share + 1e-8)).sum() / np.log(scores.size), 0, 1))


def lower_median(values):
    return np.sort(values)[(len(values) - 1) // 2]


def chunks_of(tokens, chunk, spiky):
    """[(positions, mean score, least and most entries that the greedy pass takes)] of one layer's token scores."""
    stretches = [np.arange(begin, min(begin + chunk, tokens.size)) for begin in range(0, tokens.size, chunk)]
    means = np.array([tokens[stretch].mean() for stretch in stretches])
    entropies = np.array([chunk_entropy(tokens[stretch]) for stretch in stretches])
    mean_median, entropy_median = lower_median(means), lower_median(entropies)
    result = []
    for stretch, mean, entropy in zip(stretches, means, entropies):
        slack = 1e-5 * abs(mean_median)
        surely = mean > mean_median + slack and entropy < entropy_median - 1e-6
        possibly = mean >= mean_median - slack and entropy < entropy_median + 1e-6
        few = min(spiky, stretch.size)
        result.append((stretch, mean, few if possibly else stretch.size, few if surely else stretch.size))
    return result


# --- LU-KV ------------------------------------------------------------------------------------------------------------


def curve_counts(curves, budget, seq_len):
    """[L, Hkv] from shares to evict [99, L, Hkv], in float32 as kvpress counts."""
    if budget >= seq_len:
        return np.full(curves.shape[1:], seq_len)
    point = min(max(int(round((1 - budget / seq_len) * 100)) - 1, 0), 98)
    counts = []
    for shares_to_evict in curves[point].astype(np.float32):
        ideal = np.clip(np.float32(1) - shares_to_evict, 0, 1).astype(np.float32) * np.float32(seq_len)
        total = int(np.clip(np.rint(ideal.sum(dtype=np.float32)), ideal.size, ideal.size * seq_len))
        whole = np.floor(ideal).astype(int)
        missing = min(max(total - whole.sum(), 0), ideal.size)
        whole[np.argsort(-(ideal - whole), kind="stable")[:missing]] += 1
        counts.append(np.clip(whole, 1, seq_len))
    return np.array(counts)


# --- merging ----------------------------------------------------------------------------------------------------------


def torch_quantile(values, q):
    """torch.quantile's linear interpolation, which minus infinities go through."""
    ranked, place = np.sort(values), q * (len(values) - 1)
    low, weight = ranked[int(place)], place - int(place)
    high = ranked[min(int(place) + 1, len(values) - 1)]
    with np.errstate(invalid="ignore"):
        return low + weight * (high - low) if weight < 0.5 else high - (high - low) * (1 - weight)


def merge_head(keys, values, order, count, similarity=0.0, fraction=1.0):
    """[N, d]: values of one head after its evicted entries, order[count:], were folded into the kept ones."""
    kept, evicted = order[:count], np.sort(order[count:])
    result = values.copy()
    if not (count and evicted.size):
        return result
    unit = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-6)
    cosine = unit[evicted] @ unit[kept].T
    target, most = cosine.argmax(axis=1), cosine.max(axis=1)
    merged = most >= similarity
    if fraction < 1 and merged.any():
        merged &= most >= torch_quantile(np.where(merged, most, -np.inf), 1 - fraction)
    norm = np.linalg.norm(values, axis=1)
    weights = np.zeros(count)
    sums = np.zeros((count, values.shape[1]))
    for entry, to, cos, yes in zip(evicted, target, most, merged):
        weight = max(cos, 0) * yes * norm[entry] / (norm[entry] + norm[kept[to]] + 1e-6)
        weights[to] += weight
        sums[to] += weight * values[entry]
    changed = weights > 0
    result[kept[changed]] = (values[kept[changed]] + sums[changed]) / (1 + weights[changed])[:, None]
    return result


def cam_head(values, attention, order, count, merge_budget=32):
    """[N, d]: every evicted value is spread over the next kept entries, times its probability."""
    kept, result = np.sort(order[:count]), values.copy()
    for entry in order[count:]:
        window = kept[kept > entry][:merge_budget]
        if window.size:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = attention[entry] / attention[window].mean()
            share = 0 if np.isnan(ratio) else min(ratio, 1)
            result[window] += values[entry] * share / window.size
    return result


def losses_of_changed_values(layer, full, kept, new_values):
    """Losses as of reference_losses.losses, without bounds: kept [Hkv, N]; new_values [Hkv, N, d] of the prompt."""
    import reference_losses as reference

    steps = full.attention.shape[1]
    mask = np.concatenate([kept, np.ones((kept.shape[0], steps), dtype=bool)], axis=1)
    surviving = full.attention * np.repeat(mask, layer.group_size, axis=0)[:, None, :]
    surviving /= surviving.sum(axis=-1, keepdims=True)
    values = np.concatenate([new_values, layer.v_eval], axis=1)
    outputs = full.head_output - reference.head_outputs(layer, surviving, values)
    attn_out = reference.projected(layer, outputs)
    return {
        "head_l1": reference.norm(full.attention - surviving, 1),
        "head_output_l1": reference.norm(outputs, 1),
        "head_output_l2": reference.norm(outputs, 2),
        "attn_out_l1": reference.norm(attn_out, 1),
        "attn_out_l2": reference.norm(attn_out, 2),
    }
