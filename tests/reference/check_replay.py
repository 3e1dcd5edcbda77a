#!/usr/bin/env python3
"""Holds reports of lava-replay against the independent reference: retained sets modulo ties, budgets, losses, bounds.

A retained set is right if it has the right size and every entry kept scores at least what every entry dropped scores,
within 1e-5 of the score at the cut (the replay scores in float32). Losses and bounds are evaluated on the set that the
replay retained and must agree within 1e-5 per layer and per run. Exit status 1 where anything differs."""

import argparse
import collections
import sys

import numpy as np

import reference_budgets
import reference_losses
import reference_policies
from reference_trace import read_trace
from replay_report import HEAD_LOSSES, LAYER_LOSSES, analyze, read_report

TIE = 1e-5  # of the score at the cut: what float32 scores may be off
LOSS = 1e-5  # relative, per layer and run
ROUNDING = 1e-12  # of the uncompressed norm: what float64 itself loses in A - Â
ULP = {"emulate_bf16": 2**-7, "emulate_fp16": 2**-10}  # what a reduction rounded in another order may be off
CANCELS = {"loo": 1e-3, "dropkv": 1e-3}  # sums of squares whose terms cancel in float32
STRUCTURAL = {"full", "streaming-llm"}


class Summary:
    """Findings and tallies of one policy."""

    def __init__(self, text):
        self.text = text
        self.tally = collections.Counter()
        self.worst = collections.defaultdict(float)
        self.faults = []

    def fault(self, message):
        self.faults.append(f"{self.text}: {message}")

    def expect(self, holds, message):
        if not holds:
            self.fault(message)

    def agree(self, name, found, expected, message, floor=0.0):
        """Relative to the expected value; `floor` is an absolute difference that float64 cannot tell apart."""
        difference = abs(found - expected) - floor
        deviation = max(difference, 0.0) / abs(expected) if expected else float(difference > 0)
        self.worst[name] = max(self.worst[name], deviation)
        self.expect(deviation <= LOSS, f"{message}: {name} {found:.9g}, reference {expected:.9g}")


# --- retained sets ----------------------------------------------------------------------------------------------------


def tolerance(policy):
    """Tolerance of the score at the cut."""
    if policy.name == "compose":
        return CANCELS.get(policy.score.partition("-")[0], TIE)
    return ULP.get(policy.parameters.get("precision"), CANCELS.get(policy.name, TIE))


def best_are_kept(scores, kept, tie):
    """scores [M], kept [M]: nothing dropped beats anything kept, beyond rounding."""
    if kept.all() or not kept.any():
        return True
    least, most = scores[kept].min(), scores[~kept].max()
    return most - least <= tie * max(abs(least), abs(most))


def count_range(scores, total, alpha, floor, tie):
    """Least and largest capacity [Hkv] that scores equal within `tie` at the layer's cut allow each head."""
    cut = np.sort(scores, axis=None)[::-1][total - 1] if total else np.inf
    surely = (scores > cut * (1 + tie)).sum(axis=1)
    possibly = (scores >= cut * (1 - tie)).sum(axis=1)
    mixed = reference_budgets.mixed_capacities
    return mixed(surely, alpha, floor), mixed(possibly, alpha, floor)


def adaptive_counts_fit(scores, layer, budget, counts, layer_budget):
    """counts [Hkv] are those of `layer_budget`, modulo ties at the layer's cut."""
    if layer_budget > scores.evictable:
        return (counts == scores.evictable).all()
    entries = reference_budgets.weighed_heads(scores.entries[layer], layer_budget, scores.policy)
    alpha, floor = scores.policy.head_floor, reference_budgets.floor_of(scores.policy, budget, layer_budget)
    least, largest = count_range(entries, entries.shape[0] * layer_budget, alpha, floor, tolerance(scores.policy))
    fits = (np.clip(least, 0, scores.evictable) <= counts) & (counts <= np.clip(largest, 0, scores.evictable))
    exact_total = alpha > 0 or counts.sum() == entries.shape[0] * layer_budget
    return fits.all() and exact_total


def counts_fit(scores, layer, budget, counts, allocation):
    """counts [Hkv]: evictable entries that the replay kept in this layer."""
    slack = (0, -1, 1) if allocation.fragile else (0,)
    if allocation.layer_budget is None:  # one ranking over the model, or CAKE that does nothing yet
        return model_wide_counts_fit(scores, layer, counts, allocation)
    if scores.policy.heads_rule == "layer":
        return any(
            adaptive_counts_fit(scores, layer, budget, counts, allocation.layer_budget[layer] + more) for more in slack
        )
    return any((counts == allocation.held[layer] + more).all() for more in slack)


def model_wide_counts_fit(scores, layer, counts, allocation):
    """Counts may differ by what scores equal at the model's cut allow."""
    if scores.policy.parameters.get("layers") != "model":
        return (counts == allocation.held[layer]).all()
    everything = np.sort(np.concatenate([entries.ravel() for entries in scores.entries]))[::-1]
    total = int(allocation.held.sum())
    cut, tie = everything[total - 1] if total else np.inf, tolerance(scores.policy)
    surely = (scores.entries[layer] > cut * (1 + tie)).sum(axis=1)
    possibly = (scores.entries[layer] >= cut * (1 - tie)).sum(axis=1)
    return (surely <= counts).all() and (counts <= possibly).all()


def check_layer_set(summary, scores, budget, layer, kept, expected):
    """kept [Hkv, N] of the replay against the reference's."""
    where = f"budget {budget} layer {layer}"
    summary.expect(kept[:, scores.evictable :].all(), f"{where}: the window is not whole")
    counts = kept[:, : scores.evictable].sum(axis=1)
    allocation = expected.allocation
    if not counts_fit(scores, layer, budget, counts, allocation):
        summary.fault(f"{where}: counts {counts.tolist()}, reference {allocation.held[layer].tolist()}")
    for head in range(kept.shape[0]):
        same = (kept[head] == expected.kept[layer, head]).all()
        summary.tally["heads"] += 1
        summary.tally["equal"] += same
        if scores.policy.name in STRUCTURAL:
            summary.expect(same, f"{where} head {head}: another set than the rule's")
        elif scores.entries[layer] is not None:
            fits = best_are_kept(scores.entries[layer][head], kept[head, : scores.evictable], tolerance(scores.policy))
            summary.expect(fits, f"{where} head {head}: an entry dropped scores more than one kept")


def check_sets(summary, scores, replay):
    rankings = np.sort(replay.ranking, axis=-1)
    summary.expect((rankings == np.arange(scores.seq_len)).all(), "a ranking is no permutation of the prompt")
    for grid, budget in enumerate(replay.budgets.tolist()):
        expected = reference_budgets.retain(scores, budget)
        ranked = reference_budgets.at_budget(scores, budget)
        kept = replay.kept(grid)
        summary.expect(replay.asked[grid] == expected.asked, f"budget {budget}: asked {replay.asked[grid]}")
        check_granted(summary, budget, int(replay.granted[grid]), expected, scores)
        for layer in range(scores.num_layers):
            check_layer_set(summary, ranked, budget, layer, kept[layer], expected)


def check_granted(summary, budget, granted, expected, scores):
    """Equal; where heads are rounded one by one or a share is fragile, ties may move it by one entry per head."""
    summary.tally["budgets"] += 1
    summary.tally["granted equal"] += granted == expected.granted
    rounds = scores.policy.heads_rule == "layer" and scores.policy.head_floor > 0
    slack = scores.num_layers * scores.num_kv_heads if rounds or expected.allocation.fragile else 0
    if abs(granted - expected.granted) > slack:
        summary.fault(f"budget {budget}: granted {granted}, reference {expected.granted}")


# --- losses -----------------------------------------------------------------------------------------------------------


def check_norms(report, full):
    summary = Summary("uncompressed norms")
    for layer, dense in enumerate(full):
        for name, norms in reference_losses.uncompressed_norms(dense).items():
            summary.agree(name, report.norms[name][layer].mean(), norms.mean(), f"layer {layer}")
    return summary


def check_losses(summary, replay, grid, layers, full):
    """Every layer's mean over the steps, and the run's."""
    kept, where = replay.kept(grid), f"budget {replay.budgets[grid]}"
    expected = collections.defaultdict(list)
    for layer, (recorded, dense) in enumerate(zip(layers, full)):
        losses = reference_losses.losses(recorded, dense, kept[layer])
        for name in HEAD_LOSSES + LAYER_LOSSES:
            found = replay.losses[name][grid, layer]
            if kept[layer].all():
                summary.expect((found == 0).all(), f"{where} layer {layer}: {name} is not 0 though nothing was evicted")
                losses[name] = np.zeros_like(found)
            floor = ROUNDING * scale_of(name, dense)
            summary.agree(name, found.mean(dtype=np.float64), losses[name].mean(), f"{where} layer {layer}", floor)
            expected[name].append(losses[name].mean())
    for name, values in expected.items():
        floor = ROUNDING * np.mean([scale_of(name, dense) for dense in full])
        summary.agree(name, replay.losses[name][grid].mean(dtype=np.float64), np.mean(values), where, floor)


def scale_of(name, dense):
    """The magnitude of the quantity from which the loss is a difference."""
    if name.startswith("bound"):
        return 0.0  # sums of positive numbers: nothing cancels
    norms = reference_losses.uncompressed_norms(dense)
    return norms[name].mean() if name in norms else 1.0


def chosen_budgets(count, limit):
    """At most `limit` grid indices, ends included."""
    return sorted(set(np.linspace(0, count - 1, min(limit, count)).round().astype(int).tolist()))


# --- what lava-analyze says of the report -----------------------------------------------------------------------------


def check_table(report, program):
    """The table's numbers are the report's."""
    summary = Summary("lava-analyze table")
    rows = {(row["policy"], row["budget"]): row for row in analyze(program, "table", report.path)}
    for replay in report.policies:
        for grid, budget in enumerate(replay.budgets.tolist()):
            row, where = rows[replay.text, budget], f"{replay.text} budget {budget}"
            exact = {"asked": replay.asked, "granted": replay.granted, "retained": replay.counts.sum(axis=(1, 2))}
            for name, values in exact.items():
                summary.expect(row[name] == values[grid], f"{where}: {name} {row[name]}, report {values[grid]}")
            for name in filter(row.get, replay.losses):
                summary.agree(name, row[name], replay.losses[name][grid].mean(dtype=np.float64), where)
            for name in ("attn_out_l1", "attn_out_l2") if replay.losses else ():
                relative = replay.losses[name][grid].sum() / report.norms[name].sum()
                summary.agree(f"{name}_relative", row[f"{name}_relative"], relative, where)
    return summary


def check_retained(report, program):
    """One budget per policy: the JSON lists the positions that the report's ranking and counts mean."""
    summary = Summary("lava-analyze retained")
    for replay in report.policies:
        grid = len(replay.budgets) // 2
        budget = int(replay.budgets[grid])
        found = analyze(program, "retained", report.path, "--policy", replay.text, "--budget", budget)["kept"]
        expected = [[np.flatnonzero(head).tolist() for head in layer] for layer in replay.kept(grid)]
        summary.expect(found == expected, f"{replay.text} budget {budget}: other positions than the report's")
        summary.tally["sets"] += 1
    return summary


def check_spans(report, program):
    """Share of each span's entries that stay, and of its tokens that no head keeps."""
    summary = Summary("lava-analyze spans")
    replays = {replay.text: replay for replay in report.policies}
    for row in analyze(program, "spans", report.path) if report.spans else ():
        replay, span = replays[row["policy"]], (row["begin"], row["end"])
        kept = replay.kept(replay.budgets.tolist().index(row["budget"]))
        where = f"{replay.text} budget {row['budget']} {row['span']}"
        summary.agree("survival", row["survival"], reference_losses.span_survival(kept, *span), where)
        summary.agree("global_eviction", row["global_eviction"], reference_losses.global_eviction_ratio(kept, *span), where)
        summary.tally["spans"] += 1
    return summary


# --- the whole --------------------------------------------------------------------------------------------------------


def seen_by_policy(full, layers, policy):
    """Where every query head has a cache of its own, the layers are other ones."""
    expanded = reference_policies.seen_by(layers, policy)
    if expanded is layers or not full:
        return full, expanded
    return [reference_losses.dense(layer) for layer in expanded], expanded


def check_policy(replay, layers, full, limit):
    summary = Summary(replay.text)
    if replay.policy is not None:
        check_sets(summary, reference_policies.score(layers, replay.policy), replay)
        full, layers = seen_by_policy(full, layers, replay.policy)
    if full and replay.losses:
        for grid in chosen_budgets(len(replay.budgets), limit):
            check_losses(summary, replay, grid, layers, full)
            summary.tally["loss budgets"] += 1
    return summary


def check_report(path, layers, full, options):
    report = read_report(path)
    if full and report.norms:
        yield check_norms(report, full)
    for replay in report.policies:
        if options.policy and replay.text not in options.policy:
            continue
        yield check_policy(replay, layers, full, options.loss_budgets)
    if options.analyze:
        yield check_table(report, options.analyze)
        yield check_retained(report, options.analyze)
        yield check_spans(report, options.analyze)


def print_summary(summary, shown=6):
    tally = " ".join(f"{name} {count}" for name, count in summary.tally.items())
    worst = max(summary.worst.items(), key=lambda item: item[1], default=None)
    deviation = f"worst {worst[0]} {worst[1]:.1e}" if worst else ""
    print(f"{'ok  ' if not summary.faults else 'FAIL'} {summary.text:28} {tally} {deviation}".rstrip())
    for fault in summary.faults[:shown]:
        print(f"     {fault}")
    if len(summary.faults) > shown:
        print(f"     ... {len(summary.faults) - shown} more")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("report", nargs="+")
    parser.add_argument("--analyze", help="path of lava-analyze; checks its table, retained and spans too")
    parser.add_argument("--policy", action="append", help="check this policy alone; repeatable")
    parser.add_argument("--loss-budgets", type=int, default=1000, help="budgets per policy whose losses are evaluated")
    return parser.parse_args()


def main():
    options = parse_options()
    layers = read_trace(options.trace)
    full = [reference_losses.dense(layer) for layer in layers] if layers[0].has_losses else None
    faults = 0
    for path in options.report:
        for summary in check_report(path, layers, full, options):
            print_summary(summary)
            sys.stdout.flush()
            faults += len(summary.faults)
    print(f"{faults} differences" if faults else "no difference")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
