#!/usr/bin/env python3
"""Holds tests/reference/reference_newer.py, which lava-replay is held against, to the presses of kvpress 0.5.5 themselves, on
random layers: CUR, CapKV, entropy-gated chunks, LU-KV, DMS, merging and CaM. Needs kvpress, transformers, torch and numpy."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import transformers
from kvpress import ScorerPress
from kvpress.presses.cam_press import CAMPress
from kvpress.presses.cap_press import CapPress
from kvpress.presses.cur_press import CURPress
from kvpress.presses.dms_press import DMSPress
from kvpress.presses.entropy_gated_chunkkv_press import EntropyGatedChunkKVPress
from kvpress.presses.lukv_press import LUKVPress
from kvpress.presses.merging_press import MergingPress

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))

import reference_newer as newer  # noqa: E402
from check_newer import check_chunks  # noqa: E402
from reference_trace import Layer  # noqa: E402

HEADS, KV_HEADS, DIM = 6, 3, 16


class Given(ScorerPress):
    """A press with scores from outside."""

    def score(self, *arguments):
        return self.given.clone()


def given(scores, ratio=0.0):
    press = Given(ratio)
    object.__setattr__(press, "given", torch.tensor(scores)[None])
    return press


def attention_module(seed):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(hidden_size=48, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=DIM,
                                      num_hidden_layers=1, intermediate_size=8, vocab_size=8)
    model = transformers.LlamaModel(config)
    module = model.layers[0].self_attn
    module.rotary_emb = model.rotary_emb
    return module.double()


def random_layer(seed, tokens):
    draw = np.random.default_rng(seed).standard_normal
    return Layer(k=draw((KV_HEADS, tokens, DIM)), v=draw((KV_HEADS, tokens, DIM)), q_window=draw((HEADS, 1, DIM)))


def tensor(array):
    return torch.tensor(np.asarray(array))[None]


def kept_mask(keys, kept):
    """[Hkv, N] bool: which rows of keys [1, Hkv, N, d] are among kept [1, Hkv, n, d]"""
    return (keys[0, :, :, None] == kept[0, :, None]).all(-1).any(-1).numpy()


def compare_cur(seed, tokens):
    layer = random_layer(seed, tokens)
    for leverage in ("key", "value", "kv_avg", "kv_product"):
        for local in (True, False):
            press = CURPress(leverage_type=leverage, use_local_approximation=local)
            theirs = press.score(None, None, tensor(layer.k), tensor(layer.v), None, None)[0].numpy()
            yield np.allclose(newer.cur_scores(layer, leverage=leverage, local="on" if local else "off"), theirs, rtol=1e-9)


def compare_capkv(seed, tokens):
    layer, module = random_layer(seed, tokens), attention_module(seed)
    hidden = torch.randn(1, tokens, 48, dtype=torch.float64)
    with torch.no_grad():
        theirs = CapPress().score(module, hidden, tensor(layer.k), tensor(layer.v), None, None)[0].numpy()
        queries = module.q_proj(hidden[0, 4:]).view(tokens - 4, HEADS, DIM)
    layer.q_pre_rope_mean = queries.mean(0).numpy()
    rope = module.rotary_emb.inv_freq.double().numpy(), 1.0
    yield np.allclose(newer.capkv_scores(layer, rope), theirs, rtol=1e-4)  # kvpress solves, and turns, in float32


def compare_chunks(seed, tokens):
    random = np.random.default_rng(seed)
    module = SimpleNamespace(head_dim=DIM)
    for scores in (random.random((KV_HEADS, tokens)) ** 8, random.standard_normal((KV_HEADS, tokens))):
        for ratio in (0.1, 0.5, 0.75, 0.95):
            press = EntropyGatedChunkKVPress(given(np.float32(scores), ratio))
            keys = torch.randn(1, KV_HEADS, tokens, DIM)
            kept, _ = press.compress(module, None, keys, keys, None, None)
            budget = max(1, int(tokens * (1 - ratio)))
            faults = check_chunks(0, np.float32(scores).astype(np.float64).sum(axis=0), 10, 4, budget, kept_mask(keys, kept))
            yield not list(faults)


def compare_lu_kv(seed, tokens):
    random = np.random.default_rng(seed)
    curves = np.clip(random.normal(0.5, 0.4, (99, 2, KV_HEADS)), -0.1, 1.1).astype(np.float32)
    module = SimpleNamespace(layer_idx=1, masked_key_indices=None, config=SimpleNamespace(_attn_implementation="sdpa"))
    for budget in (1, 2, tokens // 3, tokens - 1):
        press = LUKVPress(given(np.float32(random.random((KV_HEADS, tokens)))), compression_ratio=1 - budget / tokens)
        press._budget_curves = curves
        module.masked_key_indices = None
        press.compress(module, None, torch.zeros(1, KV_HEADS, tokens, DIM), torch.zeros(1), None, None)
        pruned = np.bincount(module.masked_key_indices[1].numpy(), minlength=KV_HEADS) if module.masked_key_indices else 0
        yield (tokens - pruned == newer.curve_counts(curves, budget, tokens)[1]).all()


def compare_dms(seed, tokens):
    """The rule of check_newer.py: at least the threshold, or among the last."""
    scores = np.float32(np.random.default_rng(seed).random((KV_HEADS, tokens)))
    keys = torch.zeros(1, KV_HEADS, tokens, DIM)
    cache = SimpleNamespace(layers=[SimpleNamespace(keys=keys, values=keys)])
    module = SimpleNamespace(layer_idx=0, masked_key_indices=None)
    kwargs = {"hidden_states": torch.zeros(1, tokens, 4), "past_key_values": cache, "cache_position": torch.arange(tokens)}
    DMSPress(given(scores), threshold=0.4, sliding_window_size=20).forward_hook(module, [], kwargs, [None, None])
    kept = np.ones((KV_HEADS, tokens), dtype=bool)
    kept[module.masked_key_indices[1], module.masked_key_indices[2]] = False
    yield (kept == ((scores >= np.float32(0.4)) | (np.arange(tokens) >= tokens - 20))).all()


def compare_merging(seed, tokens):
    layer = random_layer(seed, tokens)
    order = np.stack([np.random.default_rng([seed, head]).permutation(tokens) for head in range(KV_HEADS)])
    for count in (1, tokens // 4, tokens - 1):
        for rule in ({}, {"similarity": 0.3}, {"fraction": 0.5}, {"similarity": 0.4, "fraction": 0.8}):
            press = MergingPress(given(np.zeros((KV_HEADS, tokens))), rule.get("similarity", 0.0), rule.get("fraction", 1.0))
            _, theirs = press.merge(tensor(layer.k), tensor(layer.v), torch.tensor(order[None, :, :count].copy()))
            ours = [newer.merge_head(layer.k[h], layer.v[h], order[h], count, **rule) for h in range(KV_HEADS)]
            yield np.allclose(np.stack(ours), theirs[0].numpy(), rtol=1e-4, atol=1e-5)  # kvpress merges in float32


def compare_cam(seed, tokens):
    """With probabilities instead of draws: torch.bernoulli is what kvpress draws with."""
    layer, random = random_layer(seed, tokens), np.random.default_rng(seed)
    scores = np.tile(random.random(tokens), (KV_HEADS, 1))
    attention = random.random((KV_HEADS, tokens)) ** 3
    bernoulli, torch.bernoulli = torch.bernoulli, lambda probability: probability
    try:
        for count, merge_budget in ((5, 32), (tokens // 2, 3), (tokens - 1, 32)):
            press = CAMPress(base_press=given(scores), target_size=count, merge_budget=merge_budget)
            press.layer_step_counts[0], press._running_attn_sum[0] = tokens, tensor(attention)
            keys, values = tensor(layer.k), tensor(layer.v)
            _, theirs = press.compress(SimpleNamespace(layer_idx=0), None, keys, values, tensor(attention), None)
            order = np.argsort(-scores[0], kind="stable")
            ours = [newer.cam_head(layer.v[h], attention[h], order, count, merge_budget)[np.sort(order[:count])]
                    for h in range(KV_HEADS)]
            yield np.allclose(np.stack(ours), theirs[0].numpy(), rtol=1e-9)
    finally:
        torch.bernoulli = bernoulli


def main():
    wrong = 0
    for name, compare in sorted(globals().items()):
        if name.startswith("compare_"):
            alike = [same for seed, tokens in enumerate((37, 64, 203)) for same in compare(seed, tokens)]
            print(f"{'alike' if all(alike) else 'DIFFER'}  {name.removeprefix('compare_')}: {sum(alike)} of {len(alike)}")
            wrong += len(alike) - sum(alike)
    print(f"{wrong} comparisons differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
