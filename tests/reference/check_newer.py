#!/usr/bin/env python3
"""Replays policies of 2025 and 2026 over the synthetic traces and holds what they retain against reference_newer.py.

  check_newer.py --replay lava-replay --folder SCRATCH

A retained set is right if it has the right size and nothing dropped scores more than anything kept, within 1e-5 of the
score at the cut (the replay scores in float32). Exit status 1 where anything differs."""

import argparse
import pathlib
import subprocess
import sys

import h5py
import numpy as np

import reference_losses
import reference_newer as newer
from check_replay import TIE, best_are_kept
from make_traces import SHAPES, make_layer, spans
from reference_policies import reduce_group
from reference_trace import read_layers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "traces" / "python"))

POLICIES = [
    "cur", "cur:leverage=key,block=7", "cur:leverage=value,sinks=0", "cur:leverage=kv_avg", "cur:local=off,sinks=1",
    "capkv", "capkv:tau=2,future=3",
    "defensivekv:window=8", "defensivekv:window=12", "defensivekv@official:window=9,kernel=3", "defensivekv@paper:window=8,threshold=0.6",
    "layer-defensivekv:window=8", "layer-defensivekv@paper:window=5,kernel=7",
    "entropy-chunkkv:base=[snapkv:window=8]", "entropy-chunkkv:base=[h2o:window=0],chunk=5,spiky=2",
    "dms:base=[snapkv:window=8],threshold=0.002,window=12", "dms:base=[h2o:window=0],threshold=0.8,window=0",
    "lu-kv:base=[snapkv:window=8],file={curves}", "lu-kv:base=[h2o:window=0],sinks=0,recent=9,file={curves}",
    "merging:base=[snapkv:window=8]", "merging:base=[h2o:window=0],similarity=0.2,fraction=0.5",
    "cam:base=[snapkv:window=8],sample=off", "cam:base=[h2o:window=0],sample=off,merge_budget=3",
]  # fmt: skip


class Trace:
    """A synthetic trace of make_traces.py, with what this build's policies read besides."""

    def __init__(self, path):
        with h5py.File(path, "r") as file:
            self.layers = read_layers(file)
            for layer, (_, group) in zip(self.layers, sorted(file["layers"].items())):
                layer.q_pre_rope_mean = group["q_pre_rope_mean"][()].astype(np.float64)
            model = file["model"]
            self.rope = model["rope_inv_freq"][()], model.attrs["rope_attention_scaling"]
        self.dense = [reference_losses.dense(layer) for layer in self.layers]
        self.path, self.seq_len = path, self.layers[0].seq_len
        self.heads = len(self.layers) * self.layers[0].num_kv_heads


def write_trace(path, shape):
    import lava_trace

    layers = []
    for layer in range(shape.layers):
        random = np.random.default_rng([shape.seed, layer, 1])
        mean = np.float32(random.standard_normal((shape.heads, shape.head_dim)))
        covariance = np.zeros((shape.heads, shape.head_dim, shape.head_dim), np.float32)
        layers.append(make_layer(shape, layer) | {"q_pre_rope_mean": mean, "q_pre_rope_cov": covariance})
    half = shape.head_dim // 2 - shape.seed % 2  # an odd seed: two numbers of a head do not turn
    frequencies = 10000.0 ** -(np.arange(half) / half)
    lava_trace.write_trace(path, layers=layers, spans=spans(shape), store="bf16" if shape.coarse else "f32",
                           rope_inv_freq=frequencies, rope_attention_scaling=1 + shape.seed / 10,
                           layer_windows=shape.windows or None)  # fmt: skip


def write_curves(path, shape):
    random = np.random.default_rng(shape.seed)
    mean = np.arange(1, 100)[:, None, None] / 100
    np.save(path, np.clip(mean + random.normal(0, 0.2, (99, shape.layers, shape.kv_heads)), -0.05, 1.05).astype("<f4"))


def read_replays(path):
    """[(policy, [(budget, kept [L, Hkv, N], ranking [L, Hkv, N])], [losses of each budget])]"""
    with h5py.File(path, "r") as file:
        for _, group in sorted(file["policies"].items()):
            text = group.attrs["policy"]
            counts, ranking = group["counts"][()], group["ranking"][()].astype(int)
            sets = []
            for grid, budget in enumerate(group["budgets"][()].tolist()):
                order = ranking[grid] if ranking.ndim == 4 else ranking
                kept = np.zeros(order.shape, dtype=bool)
                for layer, head in np.ndindex(kept.shape[:2]):
                    kept[layer, head, order[layer, head, : counts[grid, layer, head]]] = True
                sets.append((budget, kept, order))
            names = [key for key in group if key.startswith(("head_", "attn_", "bound_"))]
            losses = [{key: group[key][grid] for key in names} for grid in range(len(sets))]
            yield text.decode() if isinstance(text, bytes) else text, sets, losses


# --- checks: each yields what is wrong with one retained set ----------------------------------------------------------


def check_best(scores, kept, counts):
    """Every head keeps its best, as many as counts [L, Hkv] says."""
    for layer, head in np.ndindex(kept.shape[:2]):
        found = kept[layer, head].sum()
        if found != counts[layer][head]:
            yield f"layer {layer} head {head}: {found} entries, reference {counts[layer][head]}"
        elif not best_are_kept(scores[layer][head], kept[layer, head], TIE):
            yield f"layer {layer} head {head}: an entry dropped scores more than one kept"


def check_uniform(trace, scores, budget, kept):
    return check_best(scores, kept, np.full(kept.shape[:2], budget))


def check_pool(ranges, kept, total, where):
    """One ranking over all that is given. ranges: (least, most) scores [...] and kept [...]"""
    least, most = (np.concatenate([scores[i].ravel() for scores in ranges]) for i in (0, 1))
    chosen = kept.ravel()
    if chosen.sum() != total:
        yield f"{where}: {chosen.sum()} entries, reference {total}"
    elif not chosen.all() and most[chosen].min() < least[~chosen].max() * (1 - TIE):
        yield f"{where}: an entry dropped scores more than one kept"


def check_defensive(trace, name, variant, parameters, budget, kept):
    bias = {"bias": "window"} if variant == "paper" else {}
    ranges = [newer.defensive_scores(layer, budget, **(bias | parameters)) for layer in trace.layers]
    if name == "layer-defensivekv":
        yield from check_pool(ranges, kept, budget * trace.heads, "model")
        return
    for layer, scores in enumerate(ranges):
        yield from check_pool([scores], kept[layer], budget * kept.shape[1], f"layer {layer}")


def check_chunks(layer, tokens, chunk, spiky, budget, kept):
    """tokens [N]: scores summed over heads; kept [Hkv, N]"""
    if (kept != kept[0]).any() or kept[0].sum() != budget:
        yield f"layer {layer}: {kept[0].sum()} entries or different heads, reference {budget} in each"
        return
    chunks = newer.chunks_of(tokens, chunk, spiky)
    counts = np.array([kept[0, stretch].sum() for stretch, *_ in chunks])
    short = [mean for (_, mean, few, _), count in zip(chunks, counts) if count < few]
    turn = max(short, default=0.0)
    if short:  # the greedy pass ended: what came before is done, what comes after has nothing
        for (stretch, mean, few, many), count in zip(chunks, counts):
            done = few <= count <= many
            if (mean > turn + TIE * abs(turn) and not done) or (mean < turn - TIE * abs(turn) and count > 0):
                yield f"layer {layer} chunk at {stretch[0]}: {count} entries in the wrong turn"
    for stretch, _, _, many in chunks:
        inside = kept[0, stretch]
        if not best_are_kept(tokens[stretch], inside, TIE):
            yield f"layer {layer} chunk at {stretch[0]}: an entry dropped scores more than one kept"
    if not short:  # every chunk had its turn: left-over tokens by their scores
        surplus = np.concatenate([np.sort(tokens[s][kept[0, s]])[: max(c - few, 0)]
                                  for (s, _, few, many), c in zip(chunks, counts) if many < s.size] or [[]])  # fmt: skip
        dropped = np.concatenate([tokens[s][~kept[0, s]] for s, *_ in chunks])
        if surplus.size and dropped.size and surplus.min() < dropped.max() * (1 - TIE):
            yield f"layer {layer}: a left-over token dropped scores more than one kept"


def check_entropy_chunks(trace, parameters, budget, kept):
    scores = newer.whole_scores(trace.layers, parameters["base"])
    chunk, spiky = int(parameters.get("chunk", 10)), int(parameters.get("spiky", 4))
    for layer, entries in enumerate(scores):
        yield from check_chunks(layer, entries.sum(axis=0), chunk, spiky, budget, kept[layer])


def check_dms(trace, parameters, kept):
    threshold, window = float(parameters["threshold"]), int(parameters["window"])
    for layer, scores in enumerate(newer.whole_scores(trace.layers, parameters["base"])):
        recent = np.arange(trace.seq_len) >= trace.seq_len - window
        surely, possibly = recent | (scores > threshold * (1 + TIE)), recent | (scores >= threshold * (1 - TIE))
        if (surely & ~kept[layer]).any() or (kept[layer] & ~possibly).any():
            yield f"layer {layer}: other entries than those of at least {threshold}"


def check_lu_kv(trace, parameters, budget, kept):
    scores = newer.whole_scores(trace.layers, parameters["base"])
    sinks, recent = int(parameters.get("sinks", 4)), int(parameters.get("recent", 1))
    for entries in scores:
        above = np.r_[0:sinks, trace.seq_len - recent : trace.seq_len]
        entries[:, above] = entries.max() + 1
    return check_best(scores, kept, newer.curve_counts(np.load(parameters["file"]), budget, trace.seq_len))


def check_set(trace, text, budget, kept):
    name, variant, parameters = newer.parse(text)
    if name == "cur":
        return check_uniform(trace, [newer.cur_scores(layer, **parameters) for layer in trace.layers], budget, kept)
    if name == "capkv":
        scores = [newer.capkv_scores(layer, trace.rope, **parameters) for layer in trace.layers]
        return check_uniform(trace, scores, budget, kept)
    if name.endswith("defensivekv"):
        return check_defensive(trace, name, variant, parameters, budget, kept)
    if name == "entropy-chunkkv":
        return check_entropy_chunks(trace, parameters, budget, kept)
    if name in ("merging", "cam"):
        scores = newer.whole_scores(trace.layers, parameters["base"])
        if name == "cam":
            scores = [np.tile(entries.mean(axis=0), (entries.shape[0], 1)) for entries in scores]
        return check_uniform(trace, scores, budget, kept)
    return check_dms(trace, parameters, kept) if name == "dms" else check_lu_kv(trace, parameters, budget, kept)


# --- losses of policies that change values ----------------------------------------------------------------------------


def new_values(layer, name, parameters, counts, ranking):
    """[Hkv, N, d]"""
    attention = reduce_group(layer.observed_attention, layer, "mean")
    heads = []
    for head, (count, order) in enumerate(zip(counts, ranking)):
        if name == "cam":
            merge_budget = int(parameters.get("merge_budget", 32))
            heads.append(newer.cam_head(layer.v[head], attention[head], order, count, merge_budget))
        else:
            rule = {key: float(parameters[key]) for key in ("similarity", "fraction") if key in parameters}
            heads.append(newer.merge_head(layer.k[head], layer.v[head], order, count, **rule))
    return np.stack(heads)


def check_losses(trace, text, budget, kept, ranking, found):
    """found: {name: [L, ...]} of the report"""
    name, _, parameters = newer.parse(text)
    if any(key.startswith("bound") for key in found):
        yield "bounds are reported, which do not hold for changed values"
    for number, layer in enumerate(trace.layers):
        changed = new_values(layer, name, parameters, kept[number].sum(axis=1), ranking[number])
        expected = newer.losses_of_changed_values(layer, trace.dense[number], kept[number], changed)
        for key, values in expected.items():
            mean, reference = found[key][number].mean(dtype=np.float64), values.mean()
            if abs(mean - reference) > 1e-5 * reference + 1e-12:
                yield f"budget {budget} layer {number}: {key} {mean:.9g}, reference {reference:.9g}"


def check_is_awake(trace, text, budget, kept, ranking):
    """The check notices a set in which the entry kept longest has changed places with the one evicted first."""
    best, last = ranking[-1, -1, 0], ranking[-1, -1, -1]
    if kept[-1, -1, last] or not kept[-1, -1, best]:
        return
    wrong = kept.copy()
    wrong[-1, -1, [best, last]] = False, True
    if not list(check_set(trace, text, budget, wrong)):
        yield f"budget {budget}: the check does not notice that {best} was exchanged for {last}"


# --- the whole --------------------------------------------------------------------------------------------------------


def budgets(seq_len):
    return sorted({13, 14, seq_len // 4, seq_len // 2, seq_len - 20, seq_len - 1, seq_len} - set(range(13)))


def replay(program, trace, curves, report):
    chosen = [item for policy in POLICIES for item in ("-p", policy.format(curves=curves))]
    grid = ",".join(map(str, budgets(trace.seq_len)))
    subprocess.run([program, trace.path, *chosen, "-b", grid, "--match", "nominal", "--no-verify", "-o", report],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip


def check(options, name):
    folder, shape = options.folder, SHAPES[name]
    path, curves, report = (folder / f"{name}.newer.{end}" for end in ("h5", "npy", "report.h5"))
    write_trace(path, shape)
    write_curves(curves, shape)
    trace = Trace(path)
    replay(options.replay, trace, curves, report)
    faults = 0
    for text, sets, losses in read_replays(report):
        wrong = [f"budget {budget} {fault}" for budget, kept, _ in sets for fault in check_set(trace, text, budget, kept)]
        if text.startswith(("merging", "cam")):
            wrong += [x for replayed, found in zip(sets, losses) for x in check_losses(trace, text, *replayed, found)]
        wrong += [fault for replayed in sets[:2] for fault in check_is_awake(trace, text, *replayed)]
        print(f"{'FAIL' if wrong else 'ok  '} {name} {text.replace(str(folder), '.')}: {len(sets)} sets", *wrong[:6], sep="\n     "
              if wrong else " ")  # fmt: skip
        faults += len(wrong)
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replay", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path, help="where the traces and reports go")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    faults = sum(check(options, name) for name in SHAPES)
    print(f"{faults} differences" if faults else "no difference")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
