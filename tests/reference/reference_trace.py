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

    @property
    def has_losses(self):
        return all(x is not None for x in (self.q_eval, self.k_eval, self.v_eval, self.w_o))


def as_float64(dataset):
    """bf16 lies in the file as uint16 with dtype = "bfloat16": the upper half of a float32."""
    values = dataset[()]
    if values.dtype == np.uint16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def read_layer(group):
    names = [field.name for field in dataclasses.fields(Layer) if field.default_factory is dataclasses.MISSING]
    return Layer(**{name: as_float64(group[name]) for name in names if name in group})


def read_trace(path):
    """The layers of a trace, first to last."""
    import h5py  # only here: the policies run without it

    with h5py.File(path, "r") as file:
        return [read_layer(group) for _, group in sorted(file["layers"].items())]
