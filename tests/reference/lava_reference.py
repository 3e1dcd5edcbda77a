#!/usr/bin/env python3
"""An independent replay: what each policy keeps of a trace and what that costs, in plain float64 numpy.

Written from the definitions, not from the C++ in replay/, so that the two can be held against each other
(check_replay.py). Slow and naive on purpose.

  lava_reference.py TRACE -p snapkv -p lava:kernel=5 -b 64 -b 128     prints one row per policy and budget
  lava_reference.py --self-test                                       checks worked examples and identities
"""

import argparse
import sys

import numpy as np

import reference_budgets
import reference_losses
import reference_policies
from reference_trace import Layer, read_trace


def mean_losses(layers, full, kept):
    """Over steps and layers (head_*: heads too); relative: the sum of the losses over the sum of the full norms."""
    per_layer = [reference_losses.losses(*args) for args in zip(layers, full, kept)]
    means = {name: np.mean([losses[name].mean() for losses in per_layer]) for name in per_layer[0]}
    for order in ("l1", "l2"):
        norms = sum(reference_losses.uncompressed_norms(x)[f"attn_out_{order}"].sum() for x in full)
        means[f"attn_out_{order}_relative"] = sum(x[f"attn_out_{order}"].sum() for x in per_layer) / norms
    return means


def replay(layers, policies, budgets):
    """One row (a dict) per policy and budget."""
    full = [reference_losses.dense(layer) for layer in layers] if layers[0].has_losses else None
    for text in policies:
        scores = reference_policies.score(layers, reference_policies.parse_policy(text))
        for budget in budgets:
            result = reference_budgets.retain(scores, budget)
            row = {"policy": text, "budget": budget, "asked": result.asked, "granted": result.granted}
            row["retained"] = result.retained
            yield row | (mean_losses(layers, full, result.kept) if full else {})


# --- self-test --------------------------------------------------------------------------------------------------------


def random_layer(seed, heads, kv_heads, seq_len, head_dim=8, steps=3, window=8):
    draw = np.random.default_rng(seed).standard_normal
    hidden = heads * head_dim
    return Layer(
        k=draw((kv_heads, seq_len, head_dim)),
        v=draw((kv_heads, seq_len, head_dim)),
        q_window=2 * draw((heads, window, head_dim)),
        observed_attention=np.abs(draw((heads, seq_len))),
        q_eval=2 * draw((heads, steps, head_dim)),
        k_eval=draw((kv_heads, steps, head_dim)),
        v_eval=draw((kv_heads, steps, head_dim)),
        w_o=draw((hidden, hidden)) / np.sqrt(hidden),
    )


def test_pyramid():
    steep = reference_budgets.pyramid(96, 20, 32, 4096, 32)
    assert steep[:2] == [188, 183] and steep[-1] == 33 and sum(steep) == 3536
    large = reference_budgets.pyramid(992, 20, 32, 4096, 32)
    assert (large[0], large[0] - large[1], large[-1], sum(large)) == (1935, 60, 75, 32160)
    assert reference_budgets.pyramid(32, 20, 64, 4096, 32) == [63] * 64
    short = reference_budgets.pyramid(992, 20, 32, 1500, 32)
    assert short[0] == 1468 and short[-1] == 538
    assert reference_budgets.pyramid(992, 20, 32, 900, 32)[:2] == [868, 876]


def test_head_capacities():
    scores = np.array([[9.0, 8, 7, 6, 5, 1], [5.5, 4, 3, 2, 1, 1]])
    assert reference_budgets.head_counts(scores, 6).tolist() == [5, 1]
    assert reference_budgets.mixed_capacities([5, 1], 0.2, 1).tolist() == [5, 2]
    assert reference_budgets.mixed_capacities([98], 0.2, int(0.2 * 98)).tolist() == [97]
    assert reference_budgets.mixed_capacities([3, 5], 0.5, 1).tolist() == [2, 4]
    ties = np.ones((2, 4))
    assert reference_budgets.head_counts(ties, 5).tolist() == [4, 1]


def test_cake_adjustment():
    assert reference_budgets.cake_adjust([0.2, 0.3, 99.5], 100, 60).tolist() == [21, 19, 60]


def test_pooling():
    values = np.array([[1.0, 5, 2, 0, 0]])
    assert reference_policies.pool(values, "max", 3).tolist() == [[5, 5, 5, 2, 0]]
    assert np.allclose(reference_policies.pool(values, "avg", 3) * 3, [[6, 8, 7, 2, 0]])


def test_lava_cascade_equals_one_allocation():
    """A layer's share never grows while layers arrive, so cutting step by step ends where one cut would."""
    for seed in range(20):
        layers = [random_layer(100 * seed + i, 4, 2, 60) for i in range(5)]
        policy = reference_policies.parse_policy("lava@official:window=8")
        scores = reference_policies.score(layers, policy)
        for budget in (12, 30, 50):
            stepwise = reference_budgets.lava_cascade(scores, budget)
            once = reference_budgets.adaptive_heads(scores, budget, stepwise.layer_budget)
            assert (stepwise.held == once.held).all() and (stepwise.capacity == once.capacity).all()


def test_losses():
    layer = random_layer(7, 4, 2, 40)
    full = reference_losses.dense(layer)
    everything = reference_losses.losses(layer, full, np.ones((2, 40), dtype=bool))
    assert all((values == 0).all() for name, values in everything.items() if name.startswith("bound"))
    assert max(np.abs(values).max() for values in everything.values()) < 1e-13
    kept = np.random.default_rng(1).random((2, 40)) < 0.3
    some = reference_losses.losses(layer, full, kept)
    evicted = (full.attention[:, :, :40] * ~np.repeat(kept, 2, axis=0)[:, None]).sum(axis=-1)
    assert np.allclose(some["head_l1"], 2 * evicted)
    assert (some["attn_out_l1"] <= some["bound_projected"]).all()
    assert (some["bound_projected"] <= some["bound_adakv"]).all()
    assert (some["attn_out_l1"] <= some["bound_lava"]).all()


def test_every_policy():
    """Asked, window and nesting, on all policies; a full budget retains everything."""
    layers = [random_layer(i, 6, 3, 50) for i in range(3)]
    for name in reference_policies.DEFAULTS:
        policy = reference_policies.parse_policy(name)
        if "window" in policy.parameters:
            policy.parameters["window"] = 8
        scores = reference_policies.score(layers, policy)
        previous = np.zeros((3, 3, 50), dtype=bool)
        for budget in (12, 25, 40, 50):
            result = reference_budgets.retain(scores, budget)
            assert result.asked == budget * 9 and (name == "cake" or result.retained <= result.granted)
            assert result.kept[:, :, 50 - scores.window :].all()
            if name not in ("cake", "pyramidkv", "ada-pyramidkv", "lava-pyramid"):
                assert (result.kept | ~previous).all(), f"{name}: a larger budget dropped an entry"
            previous = result.kept
        if name not in ("ada-snapkv", "ada-pyramidkv", "lava", "lava-nohead"):
            assert result.retained == 450, f"{name} at a full budget"


def self_test():
    tests = [value for name, value in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
        print(f"ok {test.__name__}")
    return 0


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="?")
    parser.add_argument("-p", "--policy", action="append")
    parser.add_argument("-b", "--budget", action="append", type=int)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if not options.self_test and not (options.trace and options.budget):
        parser.error("a trace and at least one budget are needed, or --self-test")
    return options


def main():
    options = parse_options()
    if options.self_test:
        return self_test()
    policies = options.policy or list(reference_policies.DEFAULTS) + ["lava@official"]
    for row in replay(read_trace(options.trace), policies, options.budget):
        numbers = (f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}" for key, value in row.items())
        print(*numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
