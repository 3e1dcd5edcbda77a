#!/usr/bin/env python3
"""The check itself: it accepts what the reference would replay and notices each kind of difference."""

import dataclasses

import numpy as np

import reference_budgets
import reference_losses
import reference_policies
from check_replay import check_policy, seen_by_policy
from lava_reference import random_layer
from replay_report import HEAD_LOSSES, LAYER_LOSSES, PolicyReplay

BUDGETS = [12, 25, 50]
LAYERS = [random_layer(i, 6, 3, 50) for i in range(3)]
FULL = [reference_losses.dense(layer) for layer in LAYERS]
NAMES = [
    "full", "random:window=8", "streaming-llm", "h2o:window=8", "tova", "snapkv:window=8", "pyramidkv:window=8",
    "vatp:window=8", "ada-snapkv:window=8", "ada-pyramidkv:window=8", "cake:window=8", "lava:window=8",
    "lava@official:window=8", "lava-uniform:window=8", "lava-pyramid:window=8", "lava-nohead:window=8",
    "loo:window=8", "dropkv:window=8,project=wo", "snapkv@adakv:window=8", "lava:window=8,precision=emulate_bf16",
    "compose:window=8,layers=model,heads=layer", "h2o@official",
]  # fmt: skip


def ranking_of(kept_per_budget):
    """[L, Hkv, N] from nested sets: what the smallest budget keeps first."""
    times_kept = sum(kept.astype(int) for kept in kept_per_budget)
    return np.argsort(-times_kept, axis=-1, kind="stable")


def replay_of(text):
    """What a faultless replay would report."""
    policy = reference_policies.parse_policy(text)
    scores = reference_policies.score(LAYERS, policy)
    not_nested = any(name in text for name in ("pyramid", "cake", "h2o@official"))
    budgets = BUDGETS[1:2] if not_nested else BUDGETS
    results = [reference_budgets.retain(scores, budget) for budget in budgets]
    full, layers = seen_by_policy(FULL, LAYERS, policy)
    losses = {}
    for name in HEAD_LOSSES + LAYER_LOSSES:
        per_budget = [[reference_losses.losses(*x)[name] for x in zip(layers, full, r.kept)] for r in results]
        losses[name] = np.array(per_budget)
    for grid, result in enumerate(results):
        for layer in np.flatnonzero(result.kept.all(axis=(1, 2))):
            for values in losses.values():
                values[grid, layer] = 0
    return PolicyReplay(
        text,
        policy,
        np.array(budgets),
        np.array([r.asked for r in results]),
        np.array([r.granted for r in results]),
        np.array([r.kept.sum(axis=-1) for r in results]),
        ranking_of([r.kept for r in results]),
        losses,
    )


def faults(replay):
    return check_policy(replay, LAYERS, FULL, limit=10).faults


def test_accepts_what_the_reference_replays():
    for name in NAMES:
        assert faults(replay_of(name)) == [], name


def test_notices_an_entry_kept_before_a_better_one():
    replay = replay_of("snapkv:window=8")
    edge = replay.counts[0, 1, 1]
    order = replay.ranking[1, 1]
    order[edge - 1], order[-1] = order[-1], order[edge - 1]
    assert any("dropped scores more" in fault for fault in faults(replay))


def test_notices_counts_moved_between_heads():
    replay = replay_of("ada-snapkv:window=8")
    replay.counts[0, 0] += [3, -3, 0]
    assert any("counts" in fault for fault in faults(replay))


def test_notices_a_window_that_is_not_whole():
    replay = replay_of("lava:window=8")
    order = replay.ranking[2, 0]
    place = np.flatnonzero(order == 49)[0]
    order[place], order[-1] = order[-1], 49
    assert any("window" in fault for fault in faults(replay))


def test_notices_another_grant_and_another_loss():
    replay = replay_of("cake:window=8")
    wrong = dataclasses.replace(replay, granted=replay.granted + 1)
    assert any("granted" in fault for fault in faults(wrong))
    for name in HEAD_LOSSES + LAYER_LOSSES:
        losses = replay.losses | {name: replay.losses[name] * (1 + 3e-5)}
        assert any(name in fault for fault in faults(dataclasses.replace(replay, losses=losses))), name


def main():
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"ok {name}")


if __name__ == "__main__":
    main()
