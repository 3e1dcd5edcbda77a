#!/usr/bin/env python3
"""Writes the synthetic traces that the reference and the replay are compared on: seeded, small, of awkward shapes.

Each has attention sinks, heavy hitters, repeated tokens (exact ties) and value scales that differ by head; column sums
and attention outputs are computed, not made up, so that a trace verifies against itself.

  make_traces.py FOLDER [NAME]...      writes FOLDER/NAME.h5 for the names given, or for all"""

import argparse
import dataclasses
import pathlib
import sys

import numpy as np

import reference_losses
from reference_policies import softmax
from reference_precision import to_bf16
from reference_trace import Layer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "traces" / "python"))


@dataclasses.dataclass
class Shape:
    seed: int
    layers: int
    heads: int
    kv_heads: int
    seq_len: int
    steps: int = 4
    head_dim: int = 16
    window: int = 48  # query rows recorded, as far as the prompt goes
    coarse: bool = False  # everything rounded to bf16: ties by rounding
    peaked: float = 1.0  # scale of the queries: how sharp attention is
    bias: bool = False
    windows: tuple = ()  # of each layer, 0: none; empty: none has one

    def window_of(self, layer):
        return self.windows[layer] if self.windows else 0


SHAPES = {
    "mha_short": Shape(1, layers=1, heads=2, kv_heads=2, seq_len=40),
    "gqa_coarse": Shape(2, layers=3, heads=6, kv_heads=2, seq_len=200, coarse=True),
    "mha_deep": Shape(3, layers=6, heads=4, kv_heads=4, seq_len=131, steps=7, peaked=2.0, bias=True),
    "gqa_long": Shape(4, layers=4, heads=9, kv_heads=3, seq_len=600, head_dim=8, peaked=3.0),
    "mqa_sharp": Shape(5, layers=2, heads=8, kv_heads=1, seq_len=97, steps=1, peaked=6.0, coarse=True),
    "gqa_windows": Shape(6, layers=4, heads=4, kv_heads=2, seq_len=170, steps=7, windows=(60, 0, 5, 173)),
}


def keys_and_values(shape, random):
    """[Hkv, N, d] each: token 0 attracts every query, a few others many; about a tenth repeats an earlier token."""
    size = (shape.kv_heads, shape.seq_len, shape.head_dim)
    keys, values = random.standard_normal(size), random.standard_normal(size)
    keys[:, :, 0] += 3 * (random.random(size[:2]) < 0.05)
    keys[:, 0, 0] += 6
    values *= np.exp(random.normal(0, 0.7, (shape.kv_heads, 1, 1)))
    values[:, 0] *= 0.05
    for token in np.flatnonzero(random.random(shape.seq_len) < 0.1)[1:]:
        original = random.integers(1, token + 1)
        keys[:, token], values[:, token] = keys[:, original], values[:, original]
    return keys, values


def column_sums(queries, keys, group_size, window):
    """[Hq, N]: what each prompt token receives from all prompt queries, itself included and not."""
    seq_len = keys.shape[1]
    causal = np.tril(np.ones((seq_len, seq_len), dtype=bool))
    if window:
        causal &= ~np.tril(causal, -window)
    sums, off_diagonal = [], []
    for head, query in enumerate(queries):
        logits = query @ keys[head // group_size].T / np.sqrt(keys.shape[2])
        attention = softmax(np.where(causal, logits, -np.inf))
        sums.append(attention.sum(axis=0))
        off_diagonal.append(attention.sum(axis=0) - np.diagonal(attention))
    return np.stack(sums), np.stack(off_diagonal)


def make_layer(shape, layer):
    """The arrays of one layer, named as in the trace."""
    random = np.random.default_rng([shape.seed, layer])
    stored = to_bf16 if shape.coarse else np.float32
    keys, values = map(stored, keys_and_values(shape, random))
    hidden, width = 3 * shape.head_dim, shape.heads * shape.head_dim
    queries = random.standard_normal((shape.heads, shape.seq_len, shape.head_dim))
    queries[:, :, 0] = np.abs(queries[:, :, 0])  # so that the sinks attract
    queries = stored(queries * shape.peaked * random.uniform(0.5, 1.5, (shape.heads, 1, 1)))

    def draw(*size):
        return stored(random.standard_normal(size))

    group_size, window = shape.heads // shape.kv_heads, shape.window_of(layer)
    sums, off_diagonal = column_sums(queries.astype(np.float64), keys.astype(np.float64), group_size, window)
    arrays = {
        "k": keys,
        "v": values,
        "q_window": queries[:, -min(shape.window, shape.seq_len) :],
        "observed_attention": np.float32(sums),
        "observed_attention_off_diagonal": np.float32(off_diagonal),
        "q_eval": stored(shape.peaked * draw(shape.heads, shape.steps, shape.head_dim)),
        "k_eval": draw(shape.kv_heads, shape.steps, shape.head_dim),
        "v_eval": stored(2 * draw(shape.kv_heads, shape.steps, shape.head_dim)),
        "w_o": stored(random.standard_normal((hidden, width)) / np.sqrt(width)),
    }
    if shape.bias:
        arrays["b_o"] = draw(hidden)
    return arrays | {"attn_out": attention_output(arrays, window)}


def attention_output(arrays, window):
    names = {field.name for field in dataclasses.fields(Layer)}
    known = {name: values.astype(np.float64) for name, values in arrays.items() if name in names}
    layer = Layer(**known, sliding_window=window)
    return np.float32(reference_losses.dense(layer).attn_out)


def spans(shape):
    middle = shape.seq_len // 3
    return [("needle", middle, middle + 5), ("question", shape.seq_len - 4, shape.seq_len)]


def write(path, shape):
    import lava_trace

    layers = [make_layer(shape, layer) for layer in range(shape.layers)]
    lava_trace.write_trace(path, layers=layers, spans=spans(shape), store="bf16" if shape.coarse else "f32",
                           layer_windows=shape.windows or None)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("name", nargs="*", choices=[[], *SHAPES], metavar="NAME")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.name or SHAPES:
        write(options.folder / f"{name}.h5", SHAPES[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
