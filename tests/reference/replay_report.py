"""Reads report.h5, what lava-replay writes, with h5py (analysis/FORMAT.md), and asks lava-analyze about it."""

import dataclasses
import json
import subprocess

import numpy as np

from reference_policies import DEFAULTS, Policy, default_parameters

HEAD_LOSSES = ("head_l1", "head_output_l1", "head_output_l2")
LAYER_LOSSES = ("attn_out_l1", "attn_out_l2", "bound_lava", "bound_adakv", "bound_projected")


@dataclasses.dataclass
class PolicyReplay:
    text: str  # canonical spelling
    policy: Policy  # None where the reference does not know it: external retained sets
    budgets: np.ndarray  # [G]
    asked: np.ndarray  # [G]
    granted: np.ndarray  # [G]
    counts: np.ndarray  # [G, L, Hkv]
    ranking: np.ndarray  # [L, Hkv, N], or [G, L, Hkv, N] for a policy that ranks anew at every budget
    losses: dict  # [G, L, Hq, T] or [G, L, T] each; empty where the trace has no loss part

    def kept(self, grid):
        """[L, Hkv, N] bool"""
        ranking = self.ranking if self.ranking.ndim == 3 else self.ranking[grid]
        kept = np.zeros(ranking.shape, dtype=bool)
        for layer, head in np.ndindex(kept.shape[:2]):
            kept[layer, head, ranking[layer, head, : self.counts[grid, layer, head]]] = True
        return kept


@dataclasses.dataclass
class Report:
    path: str
    policies: list
    norms: dict  # head_output_l1 [L, Hq, T], attn_out_l1 [L, T], ...
    spans: list  # (name, begin, end)


def texts(group, name):
    """NAME_bytes holds byte strings end to end, NAME_ends where each ends."""
    if f"{name}_ends" not in group:
        return []
    data, ends = group[f"{name}_bytes"][()].tobytes(), group[f"{name}_ends"][()]
    return [data[begin:end].decode("utf-8", "replace") for begin, end in zip([0, *ends], ends)]


def as_text(attribute):
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)


def read_policy(group):
    name, variant = as_text(group.attrs["name"]), as_text(group.attrs["variant"])
    pairs = texts(group, "parameters")
    given = dict(zip(pairs[::2], pairs[1::2]))
    policy = None
    if name in DEFAULTS:
        policy = Policy(name, variant, parameters_of(name, variant, given))
    losses = {key: group[key][()] for key in HEAD_LOSSES + LAYER_LOSSES if key in group}
    arrays = [group[key][()].astype(np.int64) for key in ("budgets", "asked", "granted", "counts", "ranking")]
    return PolicyReplay(as_text(group.attrs["policy"]), policy, *arrays, losses)


def parameters_of(name, variant, given):
    """The report's parameters, typed like the reference's; one that the reference does not know is an error."""
    parameters = default_parameters(name, variant)
    for key, value in given.items():
        if (key, value) in (("protect", "none"), ("generator", "counter")):
            continue
        if key not in parameters:
            raise ValueError(f"{name}: the reference knows no parameter {key}={value}")
        parameters[key] = type(parameters[key])(value)
    return parameters


def read_report(path):
    import h5py

    with h5py.File(path, "r") as file:
        policies = [read_policy(group) for _, group in sorted(file["policies"].items(), key=lambda item: int_of(item[0]))]
        norms = {key: values[()] for key, values in file["norms"].items()} if "norms" in file else {}
        names = texts(file["trace"], "span_names")
        bounds = file["trace/spans"][()].tolist() if names else []
    return Report(str(path), policies, norms, [(name, *bound) for name, bound in zip(names, bounds)])


def int_of(name):
    return int("".join(filter(str.isdigit, name)))


def analyze(program, *arguments):
    """JSON that lava-analyze prints."""
    output = subprocess.run([program, *map(str, arguments), "--format", "json"], check=True, capture_output=True)
    return json.loads(output.stdout)
