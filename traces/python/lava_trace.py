"""Write and read lava traces (traces/FORMAT.md) from Python; needs numpy and h5py only.

A trace records the KV cache of one run of a language model, so that eviction policies can be replayed over it. Any
framework can write one:

    from lava_trace import write_trace
    write_trace("trace.h5", layers=[{"k": k, "v": v, "q_window": q} for k, v, q in run])

    from lava_trace import read_trace
    with read_trace("trace.h5") as trace:
        print(trace.info["num_layers"], trace.layers[3]["k"].mean())

Sizes in the shapes below: L layers, Hq query heads, Hkv KV heads, d head_dim, D hidden_size, N prompt tokens, W query
rows of the prompt's end, T evaluation steps after the prompt, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

FORMAT_MAJOR = 1
FORMAT_MINOR = 3

# The arrays of a layer, with the sizes of their axes ("Hq*d" is Hq times d). All but the first three are optional;
# losses need q_eval, k_eval, v_eval and w_o, and `lava-trace verify` needs attn_out too.
LAYER_KEYS = {
    "k": ("Hkv", "N", "d"),  # keys of the prompt, after the rotary embedding
    "v": ("Hkv", "N", "d"),  # its values
    "q_window": ("Hq", "W", "d"),  # queries of its last W tokens, after the rotary embedding
    "observed_attention": ("Hq", "N"),  # column sums of the causal attention over all N prompt queries
    "observed_attention_off_diagonal": ("Hq", "N"),  # the same without each token's attention to itself
    "q_pre_rope_mean": ("Hq", "d"),  # mean of the queries before the rotary embedding, of the positions from 4 on
    "q_pre_rope_cov": ("Hq", "d", "d"),  # their covariance (over n)
    "repeat_maxima": ("Hkv", "N"),  # KVzip's scores (traces/FORMAT.md, "The repeat pass")
    "repeat_maxima_plus": ("Hkv", "N"),  # KVzip+'s
    "w_o": ("D", "Hq*d"),  # the attention's output projection, o_proj.weight
    "b_o": ("D",),  # its bias
    "q_eval": ("Hq", "T", "d"),  # queries of T steps after the prompt, on which losses are measured
    "k_eval": ("Hkv", "T", "d"),  # their keys
    "v_eval": ("Hkv", "T", "d"),  # and values
    "resid_pre": ("T", "D"),  # the residual stream of the steps before the layer
    "attn_out": ("T", "D"),  # what attention adds to it, the bias included
    "resid_mid": ("T", "D"),  # the stream after that
    "mlp_out": ("T", "D"),  # what the FFN adds
}
REQUIRED_KEYS = ("k", "v", "q_window")
FULL_PRECISION_KEYS = ("observed_attention", "observed_attention_off_diagonal", "q_pre_rope_mean", "q_pre_rope_cov",
                       "repeat_maxima", "repeat_maxima_plus")
WEIGHT_KEYS = ("w_o", "b_o")
STORES = ("f32", "f16", "bf16")
OF_ALL_HEADS = ("b_o", "resid_pre", "attn_out", "resid_mid", "mlp_out")  # which a trace of some heads cannot have
_STRINGS = {"model": ("model", "config", "weights_sha256", "attn_out_at"),
            "run": ("device", "dtype", "continuation", "tokenization")}
_SIZES = {"model": {"num_layers": "L", "num_heads": "Hq", "num_kv_heads": "Hkv", "head_dim": "d", "hidden_size": "D",
                    "vocab_size": "V"}, "run": {"seq_len": "N", "eval_len": "T", "window": "W"}}
_NEEDED_SIZES = {"model": ("num_layers", "num_heads", "num_kv_heads", "head_dim"),
                 "run": ("seq_len", "eval_len", "window")}
_NAMES = {"model": "name"}  # write_trace()'s word: the attribute's name
_REST = {"prompt_ids": None, "eval_ids": None, "next_id": None, "prompt_texts": None, "eval_texts": None, "spans": (),
         "logits": None, "rope_inv_freq": None, "rope_attention_scaling": 1.0, "layer_numbers": None, "kv_head_numbers": None,
         "layer_windows": None}


def write_trace(path: str | os.PathLike[str], layers: Sequence[Mapping[str, Any]], *, vocab_size: int | None = None,
                hidden_size: int | None = None, store: str = "f32", weights_file: str | os.PathLike[str] | None = None,
                generator: str = "lava_trace.py", **more: Any) -> None:
    """Write a trace to `path`, whole or not at all.

    layers        a sequence of dicts of arrays (numpy, or torch tensors), all with the same keys, those of LAYER_KEYS
    vocab_size, hidden_size   where `logits` and the layers do not tell
    store         "f32", "f16" or "bf16": how the layers' tensors are stored
    weights_file  where w_o and b_o go, to be shared by the traces of a model; linked from the trace, so the two must
                  stay where they are relative to each other. An existing file of the same model is used as it is.
    more          all optional:
        model, config, weights_sha256, device, dtype, continuation, tokenization   strings: what was run
        attn_out_at               where attn_out was taken, if that is not what is added to the residual stream: "before
                                  the post-attention norm"
        prompt_ids, eval_ids      [N], [T] token ids
        next_id                   the most likely token after the prompt, by the logits of its last token
        prompt_texts, eval_texts  N and T strings (or bytes): the text of each token
        spans         named stretches of prompt tokens, (name, begin, end) or {"name", "begin", "end"}, half open
        logits        [T, V] of the steps
        rope_inv_freq [r], r <= d / 2: the angle per position of the pairs (i, i + r) of a head's first 2r numbers
        rope_attention_scaling  what the rotary embedding also multiplies queries and keys by
        layer_numbers, kv_head_numbers   [L], [Hkv], ascending: of a part of the model's layers or KV heads, their
                      numbers in it. Where heads are lacking, w_o has the columns of those that are there, and b_o and
                      the residual stream, which belong to all, are left out.
        layer_windows [L]: each layer's sliding window, 0 where a query sees all

    Raises ValueError, naming layer, key, expected and found, where something does not fit, and TypeError where `path` is
    no path, `layers` no list or a layer no dictionary.
    """
    path = _path("path", path)
    weights_file = None if weights_file is None else _path("weights_file", weights_file)
    if isinstance(layers, Mapping):
        raise ValueError("layers: expected a sequence of dicts, one a layer, found a single dict")
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Iterable):
        raise TypeError(f"layers: expected a list of dictionaries, found {_found(layers)}")
    layers = [_as_arrays(index, layer) for index, layer in enumerate(layers)]
    sizes = _sizes(layers, more.get("eval_ids"), more.get("logits"), hidden_size, vocab_size)
    shares = weights_file is not None and "w_o" in layers[0]
    if shares and (more.get("layer_numbers") is not None or more.get("kv_head_numbers") is not None):
        raise ValueError("weights_file: expected none for a part of a model: the file holds the weights of all of it")
    if shares and not more.get("weights_sha256"):
        more["weights_sha256"] = _weights_hash(layers)
    rest = {key: more.pop(key) for key in _REST if key in more}
    with TraceWriter(path, **sizes, store=store, generator=generator, **more) as writer:
        writer.set(**rest)
        link = _share_weights(writer, path, weights_file, layers, more) if shares else None
        for index, layer in enumerate(layers):
            writer.write(index, layer, link)


class TraceWriter:
    """Writes a trace piece by piece, so that no more than a layer is ever in memory; whole or not at all:

        with TraceWriter("trace.h5", num_layers=30, num_heads=9, num_kv_heads=3, head_dim=64, seq_len=N, window=64,
                         eval_len=16, hidden_size=576, vocab_size=49152, store="bf16", model="mine") as writer:
            writer.write(3, {"k": k, "v": v, "q_window": q})    # layer 3; more of it may follow in other calls
            writer.set(prompt_ids=ids, logits=logits)           # before the end of the block, all optional

    Sizes, keys and `strings` (model, config, weights_sha256, attn_out_at, device, dtype, continuation, tokenization) are
    those of write_trace(); set() takes the others of its `more`. Layers are counted from 0, those of a part of a model
    too. W_O goes into the trace. Raises ValueError as write_trace() does, at the end of the block for what is missing.
    """

    def __init__(self, path: str | os.PathLike[str], *, num_layers: int, num_heads: int, num_kv_heads: int, head_dim: int,
                 seq_len: int, window: int, eval_len: int = 0, hidden_size: int = 0, vocab_size: int = 0, store: str = "f32",
                 generator: str = "lava_trace.py", **strings: str) -> None:
        unknown = strings.keys() - set(_STRINGS["model"]) - set(_STRINGS["run"])
        if unknown or store not in STORES:
            raise ValueError(f"TraceWriter: unknown {sorted(unknown)[0]!r}" if unknown else
                             f"store: expected one of {', '.join(STORES)}, found {store!r}")
        given = {"L": num_layers, "Hq": num_heads, "Hkv": num_kv_heads, "d": head_dim, "N": seq_len, "W": window,
                 "T": eval_len, "D": hidden_size, "V": vocab_size}
        names = {axis: name for group in _SIZES.values() for name, axis in group.items()}
        self.sizes = {axis: _size(names[axis], value) for axis, value in given.items()}
        self.sizes["Hq*d"] = self.sizes["Hq"] * self.sizes["d"]
        self.store, self.generator = store, generator
        self._rest, self._written = dict(_REST), [set() for _ in range(self.sizes["L"])]
        self._output = _Output(_path("path", path))
        self._strings = {group: {_NAMES.get(key, key): strings.get(key, "") for key in keys}
                         for group, keys in _STRINGS.items()}

    def __enter__(self) -> TraceWriter:
        self._file = self._output.__enter__()
        _write_head(self._file, self._strings, self.sizes, self.generator)
        return self

    def write(self, index: int, layer: Mapping[str, Any], link: str | None = None) -> None:
        """More arrays of layer `index`, by name; weights are taken from the file `link`, where one is given."""
        layer = _as_arrays(index, layer, needed=())
        name = _layer_name(index, self.sizes)
        group = self._file.require_group(f"layers/{name}")
        for key, array in layer.items():
            _expect_shape(f"layer {index}: {key}", array, [self.sizes[axis] for axis in LAYER_KEYS[key]])
            if key in self._written[index]:
                raise ValueError(f"layer {index}: {key}: expected it once, found it again")
            if link is not None and key in WEIGHT_KEYS:
                group[key] = h5py.ExternalLink(link, f"/layers/{name}/{key}")
            else:
                _write_array(group, f"layer {index}", key, array, self.store)
            self._written[index].add(key)

    def set(self, **rest: Any) -> None:
        """What is not of a layer: tokens, spans, logits, the rotary embedding, what part of the model this is."""
        unknown = rest.keys() - _REST.keys()
        if unknown:
            raise ValueError(f"TraceWriter: unknown {sorted(unknown)[0]!r}")
        self._rest.update(rest)

    def __exit__(self, kind: Any, *rest: Any) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException as error:
            self._output.__exit__(type(error), error, None)
            raise
        self._output.__exit__(kind, *rest)

    def _finish(self):
        lacks_heads = self._rest["kv_head_numbers"] is not None
        for index, keys in enumerate(self._written):
            missing = [key for key in REQUIRED_KEYS if key not in keys]
            if missing or keys != self._written[0]:
                key = missing[0] if missing else sorted(keys ^ self._written[0])[0]
                raise ValueError(f"layer {index}: {key}: " + ("missing" if missing else "expected all layers alike"))
            for key in OF_ALL_HEADS:
                if lacks_heads and key in keys:
                    raise ValueError(f"layer {index}: {key}: is of all heads, expected none where some are lacking")
        _write_rest(self._file, self._rest, self.sizes)


class Trace:
    """An open trace: `info` (a dict), `layers` (a sequence of `Layer`), `logits`.

    info has num_layers, num_heads, num_kv_heads, head_dim, hidden_size, vocab_size, seq_len, eval_len, window; name,
    config, weights_sha256, attn_out_at (empty where it is not there), device, dtype, continuation, tokenization,
    generator; prompt_ids, eval_ids (arrays or None), next_id (an int or None), prompt_texts, eval_texts (lists of bytes
    or None), spans (a list of (name, begin, end)), rope_inv_freq, layer_numbers, kv_head_numbers, layer_windows (arrays or None), rope_attention_scaling.

    Raises OSError where `path` is no HDF5 file (FileNotFoundError where there is none), ValueError where it is no trace or
    a newer one than this reads, TypeError where it is no path; ValueError, too, where arrays are asked for after close().
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _path("path", path)
        self._file = _open(self.path)
        try:
            _check_format(self._file, "lava-trace", self.path)
            self.info: dict[str, Any] = _read_info(self._file)
            sizes = {axis: self.info.get(name, 0) for group in _SIZES.values() for name, axis in group.items()}
            sizes["Hq*d"] = sizes["Hq"] * sizes["d"]
            self.layers = [Layer(self._layer_group(i, sizes), sizes, i, self.path) for i in range(sizes["L"])]
        except BaseException:
            self._file.close()
            raise

    def _layer_group(self, index, sizes):
        name = f"layers/{_layer_name(index, sizes)}"
        if name not in self._file:
            _fail(self._file, f"expected a group {name}, found none")
        return self._file[name]

    @property
    def logits(self) -> np.ndarray | None:
        """[T, V] float32, or None."""
        if not self._file:
            raise ValueError(f"{self.path}: the trace is closed")
        return _decode(self._file["logits"]) if "logits" in self._file else None

    def stored_type(self, key: str) -> str:
        """How the layers' arrays of this name are stored: "f32", "f16" or "bf16"."""
        dataset = self.layers[0]._dataset(key)
        if _is_bfloat16(dataset):
            return "bf16"
        return {"<f2": "f16", "<f4": "f32"}.get(dataset.dtype.str, dataset.dtype.name)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


read_trace = Trace


class Layer(Mapping[str, np.ndarray]):
    """The arrays of a layer by name (LAYER_KEYS), float32, each read from the file when asked for."""

    def __init__(self, group, sizes, index, path):
        self._group, self._sizes, self._index, self._path = group, sizes, index, path

    def __getitem__(self, key: str) -> np.ndarray:
        dataset, expected = self._dataset(key), [self._sizes[axis] for axis in LAYER_KEYS[key]]
        array = _decode(dataset)
        if list(array.shape) != expected:
            _fail(dataset, f"expected {expected}, found {list(array.shape)}")
        return array

    def __iter__(self) -> Iterator[str]:
        group = self._open_group()
        return (key for key in LAYER_KEYS if key in group)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _open_group(self):
        if not self._group:
            raise ValueError(f"{self._path}: the trace is closed")
        return self._group

    def _dataset(self, key):
        group = self._open_group()
        if key not in LAYER_KEYS or key not in group:
            raise KeyError(f"{self._path}: layer {self._index} has no {key!r}; it has {', '.join(self)}")
        try:
            return group[key]
        except (KeyError, OSError):
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.ExternalLink):
                raise
        raise KeyError(f"{self._path}: {group.name}/{key}: links to the weights file {link.filename}, which cannot be opened "
                       "or does not hold it")


def _found(value):
    """What was given in place of something else, in a word or two."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    name = "dictionary" if isinstance(value, dict) else type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' or name == 'ndarray' else 'a'} {name}"


def _path(name: str, value: Any) -> str:
    """The path as a string; TypeError, naming the argument, where it is no path."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{name}: expected a path, found {_found(value)}")
    return os.fsdecode(value)


def _open(path: str) -> Any:
    """An HDF5 file to be read; OSError, in the words of lava-trace, where that is not to be had."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: expected an HDF5 file, found a folder")
    if not os.path.isfile(path):
        raise OSError(f"{path}: expected an HDF5 file, found something that is no regular file")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: cannot be opened: Permission denied")
    if not h5py.is_hdf5(path):
        raise OSError(f"{path}: not an HDF5 file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        whole = re.search(r"truncated file.* stored_eof = (\d+)", str(error))
        found = f"expected {whole[1]} bytes, found {os.path.getsize(path)}" if whole else str(error)
        raise OSError(f"{path}: {'a truncated HDF5 file' if whole else 'cannot be opened'}: {found}") from None


class _Output:
    """An HDF5 file that appears whole or not at all; one that is there by then stays unless `replace`."""

    def __init__(self, path, replace=True):
        self._path = os.path.realpath(os.fspath(path))
        self._replace = replace

    def __enter__(self):
        folder, name = os.path.split(self._path)
        descriptor, self._part = tempfile.mkstemp(".part", f".{name[:200]}.", folder)  # no other process has it
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)  # mkstemp makes its files readable for their owner alone
        os.close(descriptor)
        self._file = h5py.File(self._part, "w")
        return self._file

    def __exit__(self, kind, *_):
        try:
            self._file.close()
            if kind is None:
                self._publish()
        finally:
            if os.path.exists(self._part):
                os.remove(self._part)

    def _publish(self):
        if not self._replace:
            try:
                return os.link(self._part, self._path)
            except FileExistsError:
                return None
            except OSError:  # a file system without hard links
                pass
        return os.replace(self._part, self._path)


def _real_numbers(name, value):
    """The value as an array; ValueError for what would lose a part of itself as floating-point numbers."""
    array = _as_array(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected real numbers, found {array.dtype}")
    return array


def _as_array(value):
    if hasattr(value, "detach"):  # torch: off the GPU and the graph; numpy knows no bfloat16
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)


def _as_arrays(index, layer, needed=REQUIRED_KEYS):
    if not hasattr(layer, "items"):
        raise TypeError(f"layer {index}: expected a dictionary, found {_found(layer)}")
    unknown = [key for key in layer if key not in LAYER_KEYS]
    if unknown:
        raise ValueError(f"layer {index}: unknown key {unknown[0]!r}; known are {', '.join(LAYER_KEYS)}")
    missing = [key for key in needed if layer.get(key) is None]
    if missing:
        raise ValueError(f"layer {index}: {missing[0]} is missing; needed are {', '.join(REQUIRED_KEYS)}")
    arrays = {key: _as_array(value) for key, value in layer.items() if value is not None}
    for key, array in arrays.items():
        if array.dtype.kind != "f":
            raise ValueError(f"layer {index}: {key}: expected floating-point numbers, found {array.dtype}")
        if array.ndim != len(LAYER_KEYS[key]):
            expected = ", ".join(LAYER_KEYS[key])
            raise ValueError(f"layer {index}: {key}: expected [{expected}], found {list(array.shape)}")
    return arrays


def _sizes(layers, eval_ids, logits, hidden_size, vocab_size):
    """Every size of the trace, by TraceWriter's words, from the first layer and what else tells."""
    if not layers:
        raise ValueError("layers: expected at least one, found none")
    vocab_size, hidden_size = (None if value is None else _size(name, value) for name, value in
                               (("vocab_size", vocab_size), ("hidden_size", hidden_size)))
    first = layers[0]
    kv_heads, seq_len, head_dim = first["k"].shape
    heads, window, _ = first["q_window"].shape
    steps = [first[key].shape[LAYER_KEYS[key].index("T")] for key in first if "T" in LAYER_KEYS[key]]
    steps += [len(value) for value in (eval_ids, logits) if value is not None]
    widths = [first[key].shape[LAYER_KEYS[key].index("D")] for key in first if "D" in LAYER_KEYS[key]]
    if 0 in (heads, kv_heads, head_dim, seq_len, window):
        raise ValueError(f"layer 0: expected no empty axis, found k {list(first['k'].shape)} and "
                         f"q_window {list(first['q_window'].shape)}")
    if heads % kv_heads:
        raise ValueError(f"layer 0: q_window: expected a multiple of k's {kv_heads} heads, found {heads}")
    if window > seq_len:
        raise ValueError(f"layer 0: q_window: expected at most k's {seq_len} tokens, found {window}")
    return {"num_layers": len(layers), "num_heads": heads, "num_kv_heads": kv_heads, "head_dim": head_dim,
            "seq_len": seq_len, "window": window, "eval_len": steps[0] if steps else 0,
            "hidden_size": hidden_size or (widths[0] if widths else 0),
            "vocab_size": vocab_size or (np.shape(logits)[-1] if logits is not None else 0)}


def _size(name, value):
    """The value as an int, also where it is an array of one element."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf" or array.item() != int(array.item()) or array.item() < 0:
        raise ValueError(f"{name}: expected a whole number of at least 0, found {value}")
    return int(array.item())


def _tokens(rest, sizes):
    """The datasets of /tokens."""
    datasets = {name: numbers for name, axis in (("prompt_ids", "N"), ("eval_ids", "T"))
                if (numbers := _whole_numbers(name, rest[name], sizes[axis])) is not None}
    if rest["next_id"] is not None:
        datasets["next_id"] = _whole_numbers("next_id", [rest["next_id"]], 1)
    prompt_texts, eval_texts = rest["prompt_texts"], rest["eval_texts"]
    for name, axis in (("prompt_texts", "N"), ("eval_texts", "T")):
        if rest[name] is not None and len(rest[name]) != sizes[axis]:
            raise ValueError(f"{name}: expected {sizes[axis]}, found {len(rest[name])}")
    if eval_texts is not None and prompt_texts is None:
        raise ValueError("eval_texts: expected prompt_texts too, found none")
    if prompt_texts is not None:
        texts = [*prompt_texts, *(eval_texts or ())]
        pieces = [text.encode() if isinstance(text, str) else bytes(text) for text in texts]
        datasets["text_bytes"] = np.frombuffer(b"".join(pieces), "u1")
        datasets["text_offsets"] = np.cumsum([0] + [len(piece) for piece in pieces], dtype="<i8")
    return datasets


def _whole_numbers(name, values, count, ascend=False):
    """The values as int64, None for None; ValueError where there are not `count`, or one would be cut to fit, or is negative."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected {count}, found {len(array) if array.ndim == 1 else list(array.shape)}")
    if ascend and (np.diff(array) <= 0).any():
        raise ValueError(f"{name}: expected ascending numbers, found {array.tolist()}")
    if array.size == 0:
        return array.astype("<i8")
    if array.dtype.kind not in "iu" or array.min() < 0:
        raise ValueError(f"{name}: expected whole numbers of at least 0, found {array.dtype} from {array.min()}")
    return array.astype("<i8")


def _spans(spans, sizes):
    tuples = []
    for span in spans or ():
        name, begin, end = (span["name"], span["begin"], span["end"]) if isinstance(span, Mapping) else span
        if begin != int(begin) or end != int(end) or not 0 <= begin < end <= sizes["N"]:
            raise ValueError(f"span {name}: expected tokens within [0, {sizes['N']}), at least one, "
                             f"found [{begin}, {end})")
        tuples.append((str(name), int(begin), int(end)))
    return tuples


def _rope(inv_freq, scaling, sizes):
    is_one = np.size(scaling) == 1 and np.asarray(scaling).dtype.kind in "fiu"
    if not (is_one and np.isfinite(scaling) and scaling > 0):
        raise ValueError(f"rope_attention_scaling: expected a number above 0, found {scaling}")
    if inv_freq is None:
        return None
    inv_freq = np.asarray(_real_numbers("rope_inv_freq", inv_freq), "<f8")
    if inv_freq.ndim != 1 or inv_freq.size > sizes["d"] // 2 or not np.isfinite(inv_freq).all():
        raise ValueError(f"rope_inv_freq: expected at most head_dim / 2 = {sizes['d'] // 2} finite numbers, "
                         f"found {list(inv_freq.shape)}")
    return inv_freq


def _expect_shape(name, array, expected):
    if list(array.shape) != expected:
        raise ValueError(f"{name}: expected {expected}, found {list(array.shape)}")


def _finite(where, array, store):
    """The array as it is stored; ValueError where a number is not finite, or no longer is."""
    single = np.asarray(array, "<f4")
    if store == "f16":
        with np.errstate(over="ignore"):
            stored = single.astype("<f2")
        finite = np.isfinite(stored)
    elif store == "bf16":
        stored = _to_bfloat16(single)
        finite = (stored & 0x7F80) != 0x7F80
    else:
        stored, finite = single, np.isfinite(single)
    if not finite.all():
        at = [int(i) for i in np.argwhere(~finite)[0]]
        raise ValueError(f"{where}: expected finite numbers that fit {store}, found {single[tuple(at)]} at {at}")
    return stored


def _to_bfloat16(single):
    """The upper half of each float32, rounded to nearest even, as uint16."""
    bits = np.ascontiguousarray(single).view("<u4")
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000  # rounding could turn a NaN into a number
    return np.where(is_nan, 0x7FC0, rounded).astype("<u2")


def _decode(dataset):
    """A dataset as float32; ValueError where it is of no type that a trace has, or a number is not finite."""
    if dataset.shape is None:
        _fail(dataset, "expected an array, found a null dataspace")
    single = _decode_bfloat16(dataset) if _is_bfloat16(dataset) else _decode_float(dataset)
    if not np.isfinite(single).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(single))[0]]
        found = single[tuple(at)]
        _fail(dataset, "expected finite numbers, found "
              + ("NaN" if found != found else "infinity" if found > 0 else "-infinity") + f" at {at}")
    return single


def _is_bfloat16(dataset):
    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeFloatID):  # HDF5 2.0 has a type of its own for it
        return kind.get_size() == 2 and kind.get_fields() == (15, 7, 8, 0, 7) and kind.get_order() == h5py.h5t.ORDER_LE
    return dataset.dtype == np.dtype("<u2") and "dtype" in dataset.attrs \
        and _string_attribute(dataset, "dtype") == "bfloat16"


def _decode_bfloat16(dataset):
    if isinstance(dataset.id.get_type(), h5py.h5t.TypeFloatID):  # numpy has no such type, but HDF5 converts it
        single = np.empty(dataset.shape, "<f4")
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, single, h5py.h5t.IEEE_F32LE)
        return single
    return (dataset[()].astype("<u4") << 16).view("<f4")


def _decode_float(dataset):
    if dataset.dtype not in (np.dtype("<f4"), np.dtype("<f2")):
        _fail(dataset, "expected float32, float16, bfloat16 or uint16 with the attribute dtype = bfloat16, found "
              f"{dataset.dtype}")
    return dataset[()].astype("<f4")


def _write_array(group, where, key, array, store):
    stored = _finite(f"{where}: {key}", array, "f32" if key in FULL_PRECISION_KEYS else store)
    dataset = group.create_dataset(key, data=stored)
    if stored.dtype == "<u2":
        dataset.attrs["dtype"] = "bfloat16"


def _layer_name(index, sizes):
    return f"{index:03d}" if sizes["L"] >= 100 else f"{index:02d}"


def _mark(file, name, generator):
    file.attrs["format"] = name
    file.attrs["format_major"] = np.int64(FORMAT_MAJOR)
    file.attrs["format_minor"] = np.int64(FORMAT_MINOR)
    file.attrs["generator"] = generator


def _write_head(file, strings, sizes, generator):
    _mark(file, "lava-trace", generator)
    for name in ("model", "run"):
        group = file.create_group(name)
        for key, value in strings[name].items():
            if value == "" and key == "attn_out_at":
                continue  # what every trace means that does not say otherwise
            group.attrs[key] = value if isinstance(value, str) else json.dumps(value)
        for key, axis in _SIZES[name].items():
            group.attrs[key] = np.int64(sizes[axis])


def _write_rest(file, rest, sizes):
    """All but the layers."""
    model, tokens = file["model"], file.create_group("tokens")
    for name, data in _tokens(rest, sizes).items():
        tokens[name] = data
    spans = _spans(rest["spans"], sizes)
    if spans:
        dataset = file.create_dataset("spans", data=np.array([span[1:] for span in spans], "<i8"))
        dataset.attrs["names"] = json.dumps([span[0] for span in spans])
    if rest["logits"] is not None:
        logits = _real_numbers("logits", rest["logits"])
        _expect_shape("logits", logits, [sizes["T"], sizes["V"]])
        file["logits"] = _finite("logits", logits, "f32")
    rope = _rope(rest["rope_inv_freq"], rest["rope_attention_scaling"], sizes)
    if rope is not None:
        model["rope_inv_freq"] = rope
        model.attrs["rope_attention_scaling"] = np.float64(np.asarray(rest["rope_attention_scaling"]).item())
    for name, axis in (("layer_numbers", "L"), ("kv_head_numbers", "Hkv"), ("layer_windows", "L")):
        numbers = _whole_numbers(name, rest[name], sizes[axis], ascend=name != "layer_windows")
        if numbers is not None:
            model[name] = numbers


def _weights_hash(layers):
    digest = hashlib.sha256()
    for layer in layers:
        for key in WEIGHT_KEYS:
            if key in layer:
                digest.update(np.ascontiguousarray(layer[key], "<f4").tobytes())
    return digest.hexdigest()


def _share_weights(writer, path, weights_file, layers, strings):
    """Write the weights file, or check the one that is there; returns its path relative to the trace."""
    weights_file, sizes = os.path.realpath(os.fspath(weights_file)), writer.sizes
    expected = {"weights_sha256": strings["weights_sha256"], "num_layers": sizes["L"], "num_heads": sizes["Hq"],
                "head_dim": sizes["d"], "hidden_size": sizes["D"]}
    if not os.path.exists(weights_file):
        with _Output(weights_file, replace=False) as file:
            _mark(file, "lava-weights", writer.generator)
            file.attrs["model"] = strings.get("model", "")
            for key, value in expected.items():
                file.attrs[key] = value if isinstance(value, str) else np.int64(value)
            for index, layer in enumerate(layers):
                group = file.create_group(f"layers/{_layer_name(index, sizes)}")
                for key in WEIGHT_KEYS:
                    if key in layer:
                        _write_array(group, f"layer {index}", key, layer[key], writer.store)
    with _open(weights_file) as file:  # another process may have been first
        _check_format(file, "lava-weights", weights_file)
        for key, value in expected.items():
            found = (_string_attribute if isinstance(value, str) else _number_attribute)(file, key)
            if found != value:
                raise ValueError(f"{weights_file}: weights of another model: {key}: expected {value}, found {found}")
    return os.path.relpath(weights_file, os.path.dirname(os.path.realpath(os.fspath(path))))


def _check_format(file, name, path):
    if "format" not in file.attrs:
        raise ValueError(f"{path}: attribute format: expected {name}, found none")
    found = _string_attribute(file, "format")
    if found != name:
        raise ValueError(f"{path}: attribute format: expected {name}, found {found}")
    major = _number_attribute(file, "format_major")
    minor = _number_attribute(file, "format_minor") if "format_minor" in file.attrs else 0
    if major > FORMAT_MAJOR:
        raise ValueError(f"{path}: format version {major}.{minor} is newer than {FORMAT_MAJOR}.{FORMAT_MINOR}, the "
                         "newest that this reader knows")


def _fail(thing, message):
    """Refuses a group or dataset in the words of lava-trace."""
    raise ValueError(f"{thing.file.filename}: {thing.name}: {message}")


def _attribute(thing, name):
    """The one value of an attribute, also of a fixed-length string or an array of one element."""
    if name not in thing.attrs:
        _fail(thing, f"attribute {name}: missing")
    value = thing.attrs[name]
    if isinstance(value, h5py.Empty) or np.size(value) != 1:
        _fail(thing, f"attribute {name}: expected one value, found several or none")
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) else value


def _kind_of(value):
    """In lava-trace's words."""
    kinds = {"i": "an integer", "u": "an integer", "f": "a floating-point number", "V": "a compound value",
             "b": "an enumeration (as h5py stores bool)"}
    if isinstance(value, (str, bytes)):
        return "a string"
    return kinds.get(np.asarray(value).dtype.kind, "a value of another type")


def _string_attribute(thing: Any, name: str) -> str:
    value = _attribute(thing, name)
    if not isinstance(value, (str, bytes)):
        _fail(thing, f"attribute {name}: expected a string, found {_kind_of(value)}")
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _number_attribute(thing: Any, name: str, kinds: str = "iu") -> Any:
    """An int; a float where `kinds` allows fractions."""
    value = _attribute(thing, name)
    if np.asarray(value).dtype.kind not in kinds:
        expected = "a number" if "f" in kinds else "an integer"
        _fail(thing, f"attribute {name}: expected {expected}, found {_kind_of(value)}")
    return float(value) if "f" in kinds else int(value)


def _unknown_attribute(value):
    """The value as Python has it: text of either kind of string, a number, an array of several, None of an empty one."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value.item() if isinstance(value, np.generic) else value


def _read_info(file):
    info = {"generator": _string_attribute(file, "generator") if "generator" in file.attrs else ""}
    for group in ("model", "run"):
        if group not in file:
            _fail(file, f"expected a group {group}, found none")
        strings = {_NAMES.get(key, key) for key in _STRINGS[group]}
        for key, value in file[group].attrs.items():
            if key in strings:
                info[key] = _string_attribute(file[group], key)
            elif key in _SIZES[group]:
                info[key] = _number_attribute(file[group], key)
            elif key == "rope_attention_scaling":
                info[key] = _number_attribute(file[group], key, "iuf")
            else:
                info[key] = _unknown_attribute(value)
        for key in _NEEDED_SIZES[group]:
            info.setdefault(key, None)
            if info[key] is None:
                _fail(file[group], f"attribute {key}: missing")
    model = file["model"]
    for key, kind in (("rope_inv_freq", "f8"), ("layer_numbers", "i8"), ("kv_head_numbers", "i8"),
                      ("layer_windows", "i8")):
        info[key] = _read_numbers(model, key, kind)
    info.setdefault("rope_attention_scaling", 1.0)
    info.setdefault("attn_out_at", "")
    tokens = file.get("tokens", {})
    for key in ("prompt_ids", "eval_ids"):
        info[key] = _read_numbers(tokens, key, "i8")
    info["next_id"] = int(_read_numbers(tokens, "next_id", "i8").item()) if "next_id" in tokens else None
    info["prompt_texts"], info["eval_texts"] = _read_texts(tokens, info["seq_len"])
    info["spans"] = []
    if "spans" in file:
        try:
            names = json.loads(_string_attribute(file["spans"], "names"))
        except (ValueError, RecursionError):
            _fail(file["spans"], "attribute names: expected a JSON array of strings")
        info["spans"] = [(name, int(begin), int(end))
                         for name, (begin, end) in zip(names, _read_numbers(file, "spans", "i8"))]
    return info


def _read_numbers(group, name, kind):
    """A dataset of the one type that it may have; None where there is none."""
    if name not in group:
        return None
    if group[name].dtype != np.dtype("<" + kind):
        expected = {"f8": "float64", "i8": "int64", "u1": "uint8"}[kind]
        _fail(group[name], f"expected {expected}, found {group[name].dtype}")
    return group[name][()]


def _read_texts(tokens, seq_len):
    if "text_offsets" not in tokens:
        return None, None
    data, offsets = _read_numbers(tokens, "text_bytes", "u1").tobytes(), _read_numbers(tokens, "text_offsets", "i8")
    texts = [data[begin:end] for begin, end in zip(offsets[:-1], offsets[1:])]
    return texts[:seq_len], texts[seq_len:] or None
