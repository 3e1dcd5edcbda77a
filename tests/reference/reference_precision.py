"""Numbers as a model's type holds them."""

import numpy as np


def to_bf16(values):
    """Nearest bfloat16, ties to even, as float32."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def to_fp16(values):
    return np.asarray(values, dtype=np.float32).astype(np.float16).astype(np.float32)


def rounding_of(precision):
    """A function that rounds as `precision` says, or returns what it is given."""
    rounds = {"emulate_bf16": to_bf16, "emulate_fp16": to_fp16}
    if precision not in rounds:
        return lambda values: values
    return lambda values: rounds[precision](values).astype(np.float64)
