"""Reads a trace (traces/FORMAT.md) into float64 numpy arrays, with h5py and nothing of the toolkit."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Layer:
    """One decoder layer. Hq query heads share Hkv KV heads in groups of g = Hq / Hkv; query head h reads h // g."""

    k: np.ndarray  # [Hkv, N, d], after RoPE
    v: np.ndarray  # [Hkv, N, d]
    q_window: np.ndarray  # [Hq, W, d], the last W prompt tokens, oldest first
    observed_attention: np.ndarray = None  # [Hq, N], column sums, diagonal included
    observed_attention_off_diagonal: np.ndarray = None  # [Hq, N]
    q_eval: np.ndarray = None  # [Hq, T, d]
    k_eval: np.ndarray = None  # [Hkv, T, d]
    v_eval: np.ndarray = None  # [Hkv, T, d]
    w_o: np.ndarray = None  # [D, Hq * d], o_proj.weight as it is
    b_o: np.ndarray = None  # [D]
    sliding_window: int = 0  # keys that a query sees, its own the last of them; 0: all
    attention_of_window: dict = dataclasses.field(default_factory=dict)  # window -> [Hq, window, N], filled on demand
    output_changes: dict = dataclasses.field(default_factory=dict)  # (window, head) -> [M, window, d], likewise

    @property
    def num_heads(self):
        return self.q_window.shape[0]

    @property
    def num_kv_heads(self):
        return self.k.shape[0]

    @property
    def group_size(self):
        return self.num_heads // self.num_kv_heads

    @property
    def seq_len(self):
        return self.k.shape[1]

    def sees(self, queries, keys):
        """[queries, keys] bool: whether the query at one position sees the key at another."""
        age = np.asarray(queries)[:, None] - np.asarray(keys)[None, :]
        return (age >= 0) & (age < (self.sliding_window or np.inf))

    @property
    def has_losses(self):
        return all(x is not None for x in (self.q_eval, self.k_eval, self.v_eval, self.w_o))


def as_float64(dataset):
    """bf16 lies in the file as uint16 with dtype = "bfloat16": the upper half of a float32."""
    values = dataset[()]
    if values.dtype == np.uint16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def read_layer(group, sliding_window=0):
    names = [field.name for field in dataclasses.fields(Layer) if field.type == np.ndarray]
    return Layer(**{name: as_float64(group[name]) for name in names if name in group}, sliding_window=sliding_window)


def read_layers(file):
    """The layers of an open trace, first to last."""
    groups = [group for _, group in sorted(file["layers"].items())]
    windows = file["model/layer_windows"][()].tolist() if "layer_windows" in file["model"] else [0] * len(groups)
    return [read_layer(group, window) for group, window in zip(groups, windows)]


def read_trace(path):
    """The layers of a trace, first to last."""
    import h5py  # only here: the policies run without it

    with h5py.File(path, "r") as file:
        return read_layers(file)
