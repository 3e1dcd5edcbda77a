"""Reading reports (analysis/FORMAT.md): what each policy keeps at each budget, and what that costs.

Sizes in the shapes below: L layers, Hq query heads, Hkv KV heads, H heads of a layer that keep caches of their own (Hkv, or Hq for
a policy that keeps one for every query head), N prompt tokens, T evaluation steps, S closed-loop steps, G budgets of a policy.
"""

from __future__ import annotations

import json
import shutil
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .programs import StrPath, find_program, import_extra, run_program
from .trace import _found, _number_attribute, _open, _path, _string_attribute

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FORMAT_MAJOR = 1

# The commands of lava-analyze that print a table of one report
_TABLES = ("table", "layers", "heads", "budgets", "map", "bounds", "spans", "gain", "summary", "answers")

Ints = npt.NDArray[np.int64]
Cell = tuple["ReplayedPolicy", int]  # a policy, the number of one of its budgets
Policies = str | Iterable[str] | None
Budgets = int | Iterable[int] | None
Spelled = int | str | Iterable[int | str] | None  # in any spelling that lava-replay takes

# Axes of a loss beside the budgets', by how many there are; of what to_xarray() takes of the closed loop
_OF_LOSS = {3: ("layer", "query_head", "step"), 2: ("layer", "step")}
_CLOSED = {"kl": ("closed_step",), "cross_entropy": ("closed_step",), "top_ids": ("closed_step",), "generated_ids": ("answer_step",),
           "drift_l1": ("layer", "closed_step"), "drift_l2": ("layer", "closed_step")}


@dataclass(frozen=True, eq=False)
class ReplayedPolicy:
    """A policy of a report, under one of the two ways of comparing budgets."""

    policy: str  # what differs from the defaults: "snapkv:window=16"
    name: str
    variant: str
    match: str  # "nominal", "retained" or "both": what its budgets are compared by
    window: int  # recent entries that it never evicts
    parameters: dict[str, str]
    cache_heads: int  # H
    budgets: Ints  # [G], entries per KV head on average, ascending
    nominal: Ints  # [G], what its rule was given
    asked: Ints  # [G], entries of all heads together: what the budget comes to
    granted: Ints  # [G], what its rule allotted
    counts: Ints  # [G, L, H], entries retained
    index: int  # its group's number in the file


class Report:
    """An open report: `path`, `info` (a dict), `policies` (a list of `ReplayedPolicy`).

    info has, of the trace replayed: file, generator, model_name, model_config, weights_sha256, device, run_dtype, continuation,
    tokenization, store_type; num_layers, num_heads, num_kv_heads, head_dim, hidden_size, vocab_size, seq_len, eval_len, window;
    has_losses, has_outputs, has_observed_attention, has_logits; prompt_ids, eval_ids (arrays or None), prompt_texts, eval_texts
    (lists of bytes or None), spans (a list of (name, begin, end)); layer_numbers, kv_head_numbers (arrays or None).

    Every number that is a sum or a mean over the file's arrays comes from the program lava-analyze, so that it is the same in
    tables, charts and here; `program` says where that is, if not where `lava_kv.programs` looks for it. The arrays themselves
    are read without it.

    Raises OSError where `path` is no HDF5 file (FileNotFoundError where there is none), ValueError where it is no report or a newer
    one than this reads, what is read has been damaged, or arrays are asked for after close(); TypeError where `path` or `program`
    is no path.
    """

    def __init__(self, path: StrPath, *, program: StrPath | None = None) -> None:
        self.path = _path("path", path)
        self._program = None if program is None else _path("program", program)
        self._remove: weakref.finalize[Any, Any] | None = None
        self._file = _open(self.path)
        try:
            _check_format(self._file, self.path)
            self.info = _read_info(self._file["trace"])
            self.policies = [_read_policy(self._file[f"policies/{name}"], index, self.info)
                             for index, name in enumerate(sorted(self._file["policies"]))]
        except KeyError as error:
            self._file.close()
            raise ValueError(f"{self.path}: a part is missing: {error.args[0]}") from None
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; a temporary one is removed."""
        self._file.close()
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        sizes = f"{self.info['num_layers']} layers x {self.info['num_kv_heads']} KV heads, {self.info['seq_len']} tokens"
        policies = len({policy.policy for policy in self.policies})
        cells = sum(len(policy.budgets) for policy in self.policies)
        counts = f"{policies} {'policy' if policies == 1 else 'policies'}, {cells} {'cell' if cells == 1 else 'cells'}"
        return f"<Report {self.path}: {sizes}, {counts}>"

    # tables, by lava-analyze

    def table(self, policies: Policies = None, budgets: Spelled = None, match: str | None = None) -> pd.DataFrame:
        """Policies and budgets compared, a row for each: the columns of `lava-analyze table --format csv`, in full precision.

        policies, budgets   in any spelling that lava-replay takes; None: all
        match               "nominal" or "retained"; None: both, where they differ

        Budgets are entries per KV head; asked, granted and retained are entries of all heads together. What was not measured, and
        what is relative to zero, is NaN. `lava-analyze table --help` says what the columns mean. Raises ProgramError, with
        lava-analyze's own sentence, and ValueError for an empty list of policies or budgets.
        """
        return self.analyze("table", policies, budgets, match)

    def layers(self, policies: Policies = None, budgets: Spelled = None, match: str | None = None) -> pd.DataFrame:
        """Retained entries and losses of every layer, a row for each policy, budget and layer; otherwise as table()."""
        return self.analyze("layers", policies, budgets, match)

    def analyze(self, command: str, policies: Policies = None, budgets: Spelled = None, match: str | None = None,
                *options: str) -> pd.DataFrame:
        """Any table of lava-analyze: "table", "layers", "heads", "budgets", "map", "bounds", "spans", "gain",
        "summary", "answers". `lava-analyze COMMAND --help` says what the columns mean.

        options   more of its options, such as "--by=layer"

        "gain" needs two policies, "answers" a report of replay(closed_loop=True, free=True). Raises ValueError where `command` is
        none of these, and otherwise as table() does.
        """
        if not isinstance(command, str):
            raise TypeError(f"command: expected a string, found {_found(command)}")
        if command not in _TABLES:
            raise ValueError(f"analyze: expected {', '.join(_TABLES[:-1])} or {_TABLES[-1]}, found {command!r}")
        arguments = [command, self._safe_path(), *table_options(policies, budgets, match), *options]
        return table_of(arguments, self._program, options)

    # what is kept, read from the file

    def kept(self, policies: Policies = None, budgets: Budgets = None, match: str | None = None) -> pd.DataFrame:
        """The entries that are kept, a row for each: policy, match, budget, layer, kv_head, position, rank.

        policies   as `policies` spells them, or by name alone; None: all
        budgets    as the policies have them; None: all, which may be many rows
        match      "nominal" or "retained"; None: both, where they differ

        layer and kv_head are the model's numbers (the query head's, where a policy keeps a cache for each); position counts the
        prompt's tokens from 0; rank is 0 for the entry that its head keeps longest. Rows ascend by layer, head, position.
        Raises ValueError for a policy or budget that is not there, an empty list of them, or where the report was written without rankings.
        """
        pandas = import_extra("pandas", "kept()")
        layers = _numbers(self.info, "layer_numbers", self.info["num_layers"])
        columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("cell", "layer", "kv_head", "position", "rank")}
        cells = list(self._cells(policies, budgets, match))
        for number, (policy, budget) in enumerate(cells):
            ranking = self._ranking(policy, budget)
            layer, head, position = np.nonzero(_kept(ranking, policy.counts[budget]))
            ranks = np.empty(ranking.shape, "i4")
            np.put_along_axis(ranks, ranking, np.arange(ranking.shape[-1], dtype="i4")[None, None], -1)
            for name, values in (("cell", np.full(len(layer), number)), ("layer", layers[layer]), ("position", position),
                                 ("kv_head", _head_numbers(self.info, policy.cache_heads)[head]), ("rank", ranks[layer, head, position])):
                columns[name].append(values.astype("i4"))
        joined = {name: np.concatenate(parts) if parts else np.empty(0, "i4") for name, parts in columns.items()}
        cell = joined.pop("cell")
        said = {"policy": [policy.policy for policy, _ in cells], "match": [policy.match for policy, _ in cells]}
        frame = {name: pandas.Categorical(values).take(cell) if cells else [] for name, values in said.items()}
        frame["budget"] = np.array([policy.budgets[budget] for policy, budget in cells], "i8")[cell]
        table: pd.DataFrame = pandas.DataFrame({**frame, **joined})
        return table

    def kept_mask(self, policy: str, budget: int, match: str | None = None) -> npt.NDArray[np.bool_]:
        """[L, H, N]: whether each head keeps each entry, of one policy at one budget; otherwise as kept()."""
        cells = list(self._cells(policy, budget, match))
        if len(cells) != 1:
            found = "; ".join(f"{cell.policy}, match {cell.match}" for cell, _ in cells)
            raise ValueError(f"{self.path}: expected one policy at one budget, found {len(cells)}: {found}")
        return _kept(self._ranking(*cells[0]), cells[0][0].counts[cells[0][1]])

    def tokens(self) -> pd.DataFrame:
        """The prompt's tokens: position, id (-1 where unknown), span (the first that has it), text."""
        pandas = import_extra("pandas", "tokens()")
        count = self.info["seq_len"]
        ids = self.info["prompt_ids"] if self.info["prompt_ids"] is not None else np.full(count, -1)
        texts = self.info["prompt_texts"] or [b""] * count
        spans = [""] * count
        for name, begin, end in reversed(self.info["spans"]):
            spans[begin:end] = [name] * (end - begin)
        table: pd.DataFrame = pandas.DataFrame({"position": np.arange(count), "id": ids, "span": spans,
                                                "text": [text.decode("utf-8", "replace") for text in texts]})
        return table

    def to_xarray(self, policies: Policies = None, budgets: Budgets = None, match: str | None = None, *, kept: bool = False) -> xr.Dataset:
        """The report's arrays as a Dataset, selected as kept() does.

        Dimensions: `cell` (a policy at a budget; coordinates policy, match, budget, nominal), `layer`, `query_head`, `cache_head`,
        `step` (T), `closed_step` (S), `answer_step` (F), `position` (N, with kept). Variables, where the report has them: asked, granted, retained
        [cell]; counts [cell, layer, cache_head], -1 beyond a policy's heads; head_l1, head_output_l1, head_output_l2 [cell, layer,
        query_head, step]; attn_out_*, layer_out_*, bound_* [cell, layer, step]; dense_* the norms of the uncompressed; kl,
        cross_entropy, top_ids [cell, closed_step], generated_ids [cell, answer_step], -1 behind an answer's end, drift_* [cell,
        layer, closed_step]; NaN (-1 in ids) where a policy has none. analysis/FORMAT.md says what they are; losses are norms at each step, kl and cross_entropy nats.

        kept   add `kept` [cell, layer, cache_head, position], bool
        """
        xarray = import_extra("xarray", "to_xarray()")
        cells = list(self._cells(policies, budgets, match))
        heads = max((policy.cache_heads for policy, _ in cells), default=self.info["num_kv_heads"])
        variables: dict[str, Any] = {name: ("cell", np.array([getattr(policy, name)[budget] for policy, budget in cells], "i8"))
                                     for name in ("asked", "granted")}
        variables["retained"] = ("cell", np.array([policy.counts[budget].sum() for policy, budget in cells], "i8"))
        counts = _stacked([policy.counts[budget] for policy, budget in cells], (self.info["num_layers"], heads), np.dtype("i8"))
        variables["counts"] = (("cell", "layer", "cache_head"), counts)
        losses = self._losses()
        for prefix, axes_of in (("", losses), ("closed_loop/", _CLOSED)):
            for name, axes in axes_of.items():
                stacked = self._stack(cells, prefix + name)
                if stacked is not None:
                    variables[name] = (("cell", *axes), stacked)
        for name in self._open_file().get("norms", ()):
            if name in losses:
                variables[f"dense_{name}"] = (losses[name], _read(self._file["norms"], name))
        if kept:
            masks = [_kept(self._ranking(policy, budget), policy.counts[budget]) for policy, budget in cells]
            shape = (self.info["num_layers"], heads, self.info["seq_len"])
            variables["kept"] = (("cell", "layer", "cache_head", "position"), _stacked(masks, shape, np.dtype(bool)))
        coordinates: dict[str, Any] = {name: ("cell", [getattr(policy, name) for policy, _ in cells]) for name in ("policy", "match")}
        coordinates |= {name: ("cell", [int(getattr(policy, attribute)[budget]) for policy, budget in cells])
                        for name, attribute in (("budget", "budgets"), ("nominal", "nominal"))}
        coordinates |= {"layer": ("layer", _numbers(self.info, "layer_numbers", self.info["num_layers"])),
                        "query_head": ("query_head", _head_numbers(self.info, self.info["num_heads"]))}
        attributes = {key: value for key, value in self.info.items() if isinstance(value, (str, int, float))}
        dataset: xr.Dataset = xarray.Dataset(variables, coordinates, attributes)
        return dataset

    # parts

    def _keep(self, folder: str | None) -> None:
        """Removes the folder, a temporary one with the report in it, when this is closed or no longer used."""
        if folder is not None:
            self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def _open_file(self) -> Any:
        if not self._file:
            raise ValueError(f"{self.path}: the report is closed")
        return self._file

    def _losses(self) -> dict[str, tuple[str, ...]]:
        """Every policy's losses and bounds by name: what is of real numbers in the policies' groups."""
        return {name: _OF_LOSS[array.ndim - 1] for group in self._open_file()["policies"].values()
                for name, array in group.items() if hasattr(array, "dtype") and array.dtype.kind == "f"}

    def _safe_path(self) -> str:
        return safe_path(self.path)

    def _cells(self, policies: Policies, budgets: Budgets, match: str | None) -> Iterator[Cell]:
        if match not in (None, "nominal", "retained"):
            raise ValueError(f"match: expected 'nominal' or 'retained', found {match!r}")
        chosen = [policy for policy in self._chosen(policies) if match is None or policy.match in (match, "both")]
        wanted = _several("budgets", budgets)
        there = sorted({int(budget) for policy in chosen for budget in policy.budgets})
        for budget in wanted:
            if budget not in there:
                raise ValueError(f"{self.path}: no budget {budget}; there are {', '.join(map(str, there))}")
        for policy in chosen:
            yield from ((policy, index) for index, budget in enumerate(policy.budgets) if not wanted or budget in wanted)

    def _chosen(self, policies: Policies) -> list[ReplayedPolicy]:
        wanted = _several("policies", policies)
        found = []
        for text in wanted:
            same = [policy for policy in self.policies if policy.policy == text] \
                or [policy for policy in self.policies if policy.name == text]
            if not same:
                there = dict.fromkeys(policy.policy for policy in self.policies)
                raise ValueError(f"{self.path}: no policy {text!r}; there are {', '.join(there)}")
            found += [policy for policy in same if policy not in found]
        return found if wanted else self.policies

    def _group(self, policy: ReplayedPolicy) -> Any:
        return self._open_file()[f"policies/{policy.index:04d}"]

    def _ranking(self, policy: ReplayedPolicy, budget: int) -> Ints:
        """[L, H, N]."""
        group = self._group(policy)
        if "ranking_of" in group.attrs:
            group = self._file[f"policies/{_number_attribute(group, 'ranking_of'):04d}"]
        if "ranking" not in group:
            raise ValueError(f"{self.path}: {group.name}: expected a ranking of the entries, found none: the report was written without "
                             "rankings")
        ranking = _read(group, "ranking")
        return (ranking[budget] if ranking.ndim == 4 else ranking).astype("i8")

    def _stack(self, cells: list[Cell], name: str) -> npt.NDArray[Any] | None:
        """A dataset of each policy, at the cells' budgets; None where no policy has it."""
        arrays: dict[int, npt.NDArray[Any]] = {}
        for policy, _ in cells:
            if policy.index not in arrays and name in self._group(policy):
                arrays[policy.index] = _read(self._group(policy), name)
        if not arrays:
            return None
        shape = tuple(np.max([array.shape[1:] for array in arrays.values()], axis=0))
        if name == "closed_loop/cross_entropy":  # of the next input, which the last step has not
            shape = (shape[0] + 1,)
        return _stacked([arrays[policy.index][budget] if policy.index in arrays else None for policy, budget in cells], shape,
                        next(iter(arrays.values())).dtype)


def safe_path(path: str) -> str:
    """One that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path


def table_options(policies: Policies, budgets: Spelled, match: str | None) -> list[str]:
    """As lava-analyze takes them."""
    return [*(f"--policy={policy}" for policy in _several("policies", policies)), *(f"--budget={budget}" for budget in _several("budgets", budgets)),
            *([] if match is None else [f"--match={match}"])]


def table_of(arguments: list[str], program: str | None, options: Sequence[str] = ()) -> pd.DataFrame:
    """What lava-analyze prints with these arguments; ValueError naming the `options` where they leave no table."""
    pandas = import_extra("pandas", "a table of a report")
    said = run_program(find_program("lava-analyze", program), [*arguments, "--format=json"])
    try:
        rows = json.loads(said)
    except ValueError:
        raise ValueError(f"options: expected such as leave a table, found {' '.join(map(str, options))}") from None
    frame: pd.DataFrame = pandas.DataFrame(rows)
    empty = [column for column in frame.columns if frame[column].isna().all()]
    return frame.astype({column: "float64" for column in empty})


def _several(name: str, values: Any, default: str = "all") -> list[Any]:
    """One or several as a list, empty for None; ValueError where there are none."""
    if values is None:
        return []
    several = list(values) if isinstance(values, Iterable) and not isinstance(values, (str, bytes)) else [values]
    if not several:
        raise ValueError(f"{name}: expected at least one, or None for {default}, found none")
    return several


def _stacked(arrays: Sequence[npt.NDArray[Any] | None], shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Along a new first axis; what an array lacks of the shape is NaN, -1 or False."""
    filler = {"f": np.nan, "b": False}.get(dtype.kind, -1)
    stacked = np.full((len(arrays), *shape), filler, dtype)
    for target, array in zip(stacked, arrays):
        if array is not None:
            target[tuple(slice(size) for size in array.shape)] = array
    return stacked


def _kept(ranking: Ints, counts: Ints) -> npt.NDArray[np.bool_]:
    """[L, H, N] of positions."""
    mask = np.zeros(ranking.shape, bool)
    np.put_along_axis(mask, ranking, np.arange(ranking.shape[-1]) < counts[..., None], -1)
    return mask


def _numbers(info: dict[str, Any], name: str, count: int) -> Ints:
    numbers: Ints = np.asarray(info[name]) if info[name] is not None else np.arange(count)
    return numbers


def _head_numbers(info: dict[str, Any], heads: int) -> Ints:
    """The model's numbers of KV heads or of query heads, whichever are `heads`."""
    group = heads // info["num_kv_heads"]
    numbers: Ints = _numbers(info, "kv_head_numbers", info["num_kv_heads"])[:, None] * group + np.arange(group)
    return numbers.ravel()


# reading the file


def _check_format(file: Any, path: str) -> None:
    found = _string_attribute(file, "format") if "format" in file.attrs else "none"
    if found != "lava-report":
        raise ValueError(f"{path}: not a report: expected format lava-report, found {found}")
    major, minor = _number_attribute(file, "format_major"), _number_attribute(file, "format_minor")
    if major != FORMAT_MAJOR:
        newer = "; a newer version of the toolkit wrote it" if major > FORMAT_MAJOR else ""
        raise ValueError(f"{path}: format version: expected {FORMAT_MAJOR}.x, found {major}.{minor}{newer}")


def _read(group: Any, name: str) -> npt.NDArray[Any]:
    """A dataset; ValueError where its digest is not the one noted."""
    dataset = group[name]
    values: npt.NDArray[Any] = dataset[()]
    if "crc32" in dataset.attrs and zlib.crc32(values.tobytes()) != _number_attribute(dataset, "crc32"):
        raise ValueError(f"{group.file.filename}: {dataset.name}: does not match its digest: the file is damaged, or was "
                         "changed since it was written")
    return values


def _read_texts(group: Any, name: str) -> list[bytes] | None:
    if f"{name}_ends" not in group:
        return None
    data, ends = _read(group, f"{name}_bytes").tobytes(), _read(group, f"{name}_ends").tolist()
    return [data[begin:end] for begin, end in zip([0, *ends], ends)]


def _read_info(trace: Any) -> dict[str, Any]:
    info: dict[str, Any] = {key: value if isinstance(value, str) else value.item() for key, value in trace.attrs.items() if key != "digests"}
    for name in ("layer_numbers", "kv_head_numbers", "prompt_ids", "eval_ids"):
        info[name] = _read(trace, name) if name in trace else None
    for name in ("prompt_texts", "eval_texts"):
        info[name] = _read_texts(trace, name)
    names = _read_texts(trace, "span_names") or []
    info["spans"] = [(name.decode("utf-8", "replace"), int(begin), int(end))
                     for name, (begin, end) in zip(names, _read(trace, "spans") if names else ())]
    return info


def _read_policy(group: Any, index: int, info: dict[str, Any]) -> ReplayedPolicy:
    words = [text.decode("utf-8", "replace") for text in _read_texts(group, "parameters") or ()]
    budgets = _read(group, "budgets")
    return ReplayedPolicy(
        policy=_string_attribute(group, "policy"), name=_string_attribute(group, "name"), variant=_string_attribute(group, "variant"),
        match=_string_attribute(group, "match") if "match" in group.attrs else "nominal", window=_number_attribute(group, "window"),
        parameters=dict(zip(words[::2], words[1::2])), budgets=budgets, nominal=_read(group, "nominal") if "nominal" in group else budgets,
        cache_heads=_number_attribute(group, "cache_heads") if "cache_heads" in group.attrs else info["num_kv_heads"],
        asked=_read(group, "asked"), granted=_read(group, "granted"), counts=_read(group, "counts"), index=index)
