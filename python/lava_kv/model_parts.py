"""What recorder.py finds out about the parts of a transformers model: where its attention is, what a mask shows, and how the
attention's output enters the residual stream."""

import math

import torch

BEFORE_NORM = "before the post-attention norm"
NOT_KNOWN = "as the output projection gives it: how it enters the residual stream is not known"
NO_FIT = (1.0, math.inf)


class Refused(ValueError):
    """A model that a trace cannot hold."""


def how_it_is_added(stream, given, parts, output):
    """What `given` is multiplied by where it is added to `stream`, and where that cannot be said of the attention's output itself;
    `parts` are the inputs and outputs of the layer's other modules, `output` is the layer's."""
    entered = [part for part, _ in parts]
    normed = [normed for entering, normed in parts if same(entering, given) and not same(normed, given)]
    plain = _best(entered, stream, given)
    behind_norm = min((_best([*entered, output], stream, part) for part in normed), key=lambda fit: fit[1], default=NO_FIT)
    beside = min((_best([output], stream + other.to(stream.dtype), given) for _, other in parts), key=lambda fit: fit[1], default=NO_FIT)
    factor, distance = min(plain, behind_norm, beside, key=lambda fit: fit[1])  # beside: with the FFN's output, both at once
    if math.isinf(distance):
        return 1.0, NOT_KNOWN
    return (1.0, BEFORE_NORM) if distance == behind_norm[1] and distance < plain[1] else (factor, "")


def _best(candidates, before, added):
    return min((_factor(candidate, before, added) for candidate in candidates), key=lambda fit: fit[1], default=NO_FIT)


def _factor(after, before, added):
    """The number by which `added` lies between two states of the stream and how far from that the difference is, in parts of the
    numbers' size; infinite where that is more than rounding, or the difference is nothing else."""
    difference, added = after.double() - before.double(), added.double()
    weight = 1 / (after.double().abs() + before.double().abs() + added.abs()).clamp_min(torch.finfo(torch.float32).tiny)
    norm = ((weight * added) ** 2).sum()
    if not norm > 0:
        return NO_FIT
    factor = float((weight ** 2 * difference * added).sum() / norm)
    left, rounding = weight * (difference - factor * added), torch.finfo(after.dtype).eps
    fits = float(left.abs().max()) <= 8 * rounding and float(left.square().mean()) ** 0.5 <= rounding
    is_explained = float(left.square().sum()) <= 0.25 * float((weight * difference).square().sum()) and factor != 0
    return (factor, float(left.square().mean()) ** 0.5) if fits and is_explained else NO_FIT


def adds_up(arrays):
    """Whether the layer adds its attention's output to the stream, as a trace means it."""
    if not {"resid_pre", "attn_out", "resid_mid", "mlp_out"} <= arrays.keys():
        return False
    added, found = arrays["resid_pre"].float() + arrays["attn_out"].float(), arrays["resid_mid"].float()
    return added.shape == found.shape and bool((added - found).norm() <= 1e-2 * found.norm())


def attentions_of(model, name):
    """The attention modules, in the order of their layers."""
    found = {}
    for module in model.modules():
        index = getattr(module, "layer_idx", None)
        if isinstance(index, int) and "attention" in type(module).__name__.lower():
            found.setdefault(index, module)
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None) or 0
    if not found or sorted(found) != list(range(len(found))) or len(found) < layers:
        where = f"only in {', '.join(map(str, sorted(found)))}" if found else "none"
        raise Refused(f"{name}: expected a softmax attention, a module with layer_idx, in each of its {layers or ''} layers, found {where}")
    return [found[index] for index in sorted(found)]


def block_of(model, attention):
    """The layer: the innermost entry of a list of modules that has the attention in it."""
    best = None
    for modules in model.modules():
        if isinstance(modules, torch.nn.ModuleList):
            best = next((entry for entry in modules if attention is not entry and any(part is attention for part in entry.modules())), best)
    return best if best is not None else next(m for m in model.modules() if any(child is attention for child in m.children()))


def rotary_of(model):
    return next((module for module in model.modules() if hasattr(module, "inv_freq") and hasattr(module, "forward")), None)


def visible(rows, columns, device, window=0):
    shown = torch.ones(rows, columns, dtype=torch.bool, device=device).tril(columns - rows)
    return shown & ~shown.tril(columns - rows - window) if window else shown


def seen_by(mask, rows, columns):
    """[any, rows, columns] bool: the keys that a mask shows; None where it does not say yes or no."""
    mask = mask[..., :columns]
    if mask.dtype != torch.bool:
        hidden = mask <= torch.finfo(mask.dtype).min / 2 if mask.is_floating_point() else mask == 0
        if mask.is_floating_point() and not bool((hidden | (mask == 0)).all()):
            return None
        mask = ~hidden
    return mask.expand(*mask.shape[:-2], rows, columns).reshape(-1, rows, columns)


def shows_window(seen, window):
    """Whether each row shows all keys up to its own, or the last `window` of them; a tile of rows at a time."""
    rows, columns = seen.shape[1:]
    for first in range(0, rows, 1024):
        tile = seen[:, first:first + 1024]
        past = columns - rows + first + tile.shape[1]
        if bool(tile[..., past:].any()) or not bool((tile[..., :past] == visible(tile.shape[1], past, seen.device, window)).all()):
            return False
    return True


def is_transposed(module):
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")  # transformers' linear layer of GPT-2


def error_of(left, right):
    left, right = left.detach().reshape(-1).float(), right.detach().reshape(-1).float()
    return float((left - right).norm() / right.norm().clamp_min(torch.finfo(torch.float32).tiny))


def same(left, right):
    return left.numel() == right.numel() and error_of(left, right) <= 1e-3


def tolerance_of(tensor):
    return 32 * torch.finfo(tensor.dtype).eps if tensor.dtype != torch.float32 else 1e-4
