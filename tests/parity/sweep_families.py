#!/usr/bin/env python3
"""Records a tiny random model of every causal family of transformers with capture/python/lava_capture.py: each trace must pass
`lava-trace verify` and have the column sums and logits of transformers' own eager attention, or the model is refused with one sentence.
Usage: sweep_families.py [LAVA_TRACE [FAMILY...]]. Needs transformers, torch, h5py and numpy."""

import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "capture" / "python"), str(ROOT / "traces" / "python")]
from lava_capture import capture  # noqa: E402
from lava_trace import read_trace  # noqa: E402

transformers.utils.logging.set_verbosity_error()
warnings.filterwarnings("ignore")

VERIFIED = 55  # families at least
TOLERANCE = 1e-4
TOKENS, CHUNK, STEPS, WINDOW = 60, 25, 3, 20

# What makes a model tiny, by the names that configurations have for it; only what a configuration has is set.
SIZES = {
    "vocab_size": 97, "hidden_size": 48, "d_model": 48, "n_embd": 48, "embed_dim": 48, "intermediate_size": 40, "ffn_dim": 40,
    "decoder_ffn_dim": 40, "encoder_ffn_dim": 40, "n_inner": 40, "dff": 40, "d_ff": 40, "ffn_hidden_size": 40, "num_hidden_layers": 2,
    "num_layers": 2, "n_layer": 2, "n_layers": 2, "decoder_layers": 2, "encoder_layers": 1, "num_decoder_layers": 2,
    "num_encoder_layers": 1, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "num_decoder_attention_heads": 4, "num_key_value_heads": 2, "num_kv_heads": 2, "head_dim": 12,
    "max_position_embeddings": 256, "n_positions": 256, "rotary_dim": 4, "moe_intermediate_size": 24, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 24,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8, "v_head_dim": 16, "word_embed_proj_dim": 48, "sliding_window": WINDOW, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "embedding_size": 48, "moe_num_experts": 4, "moe_k": 2, "dim_head": 12, "dim_ff": 40,
    "head_size": 12, "expert_ffn_hidden_size": 24, "moe_topk": 2, "zero_expert_num": 1, "num_shared_experts": 1, "n_shared_experts": 1,
    "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 97, "num_kv_shared_layers": 0, "num_dense_layers": 1,
    "num_codebooks": 1, "d_kv": 12, "mlp_hidden_size": 40, "projection_dim": 48,
}
DECODERS = {"is_decoder": True, "use_cache": True, "add_cross_attention": False}


def tiny(config_class):
    """A configuration of the family, and of all that it consists of."""
    config = config_class()
    for part in [config, *(getattr(config, name, None) for name in getattr(config_class, "sub_configs", {}))]:
        if part is not None:
            shrink(part)
    return config_class.from_dict(config.to_dict())


def shrink(config):
    values = config.to_dict()
    names = getattr(type(config), "attribute_map", {})
    has = lambda name: name in values or name in names or hasattr(type(config), name)
    for name, value in {**SIZES, **DECODERS}.items():
        if has(name) and name not in ("sliding_window",) or values.get(name) is not None:
            set_size(config, name, value)
    layers = getattr(config, "num_hidden_layers", 2)
    for name, value in values.items():
        if isinstance(value, list) and name in ("layer_types", "mlp_layer_types", "no_rope_layers", "layers_block_type"):
            kinds = list(dict.fromkeys(value))
            setattr(config, name, (kinds * layers)[:layers])


def set_size(config, name, value):
    try:
        setattr(config, name, value)
    except (AttributeError, TypeError, NotImplementedError, ValueError):
        pass  # one that follows from others


def build(config_class):
    torch.manual_seed(0)
    config = tiny(config_class)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():  # weights that make every part matter
        noise = torch.randn(parameter.shape)
        if "norm" in name or "ln_" in name:
            parameter.data = 1 + 0.3 * noise if "weight" in name else 0.1 * noise
        elif parameter.dim() < 2:
            parameter.data = 0.3 * noise
        else:
            parameter.data = noise * (1.0 if "embed" in name or "wte" in name else parameter.shape[-1] ** -0.5)
    model.tie_weights()
    return model


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build" / "release" / "traces" / "lava-trace")
    wanted = sys.argv[2:]
    count, wrong = Counter(), []
    for family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        if wanted and family not in wanted:
            continue
        kind, said = outcome(family, program)
        count[kind] += 1
        print(f"{family}: {kind}{': ' + said if said else ''}", flush=True)
        if kind == "wrong":
            wrong.append(family)
    print(", ".join(f"{number} {kind}" for kind, number in count.items()))
    if wrong or (not wanted and count["verified"] < VERIFIED):
        sys.exit(f"sweep_families.py: expected no wrong trace and at least {VERIFIED} verified families, found {count['verified']} and "
                 f"wrong {', '.join(wrong) or 'none'}")


def outcome(family, program):
    """verified, refused, wrong or not built, and what is to be said of it."""
    try:
        config_class = next(c for c in MODEL_FOR_CAUSAL_LM_MAPPING if c.model_type == family)
        model = build(config_class)
    except Exception as error:
        return "not built", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"
    ids = torch.randint(3, 97, [TOKENS], generator=torch.Generator().manual_seed(1)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "t.h5")
        try:
            steps = capture(model, ids, file, steps=STEPS, window=8, chunk=CHUNK)
        except ValueError as error:
            return ("wrong" if "\n" in str(error) or Path(file).exists() else "refused"), str(error)
        done = subprocess.run([program, "verify", file], capture_output=True, text=True)
        if done.returncode != 0:
            return "wrong", done.stderr.strip()
        return compare(model, ids + steps, file)


def compare(model, ids, file):
    """With the model's own attention over all tokens at once."""
    model.set_attn_implementation("eager")
    out = model(input_ids=torch.tensor([ids]), use_cache=False, output_attentions=True)
    with read_trace(file) as trace, torch.no_grad():
        worst = {"logits": error(trace.logits, out.logits[0, TOKENS:])}
        if out.attentions and all(part is not None and part.shape[-2:] == (len(ids), len(ids)) for part in out.attentions):
            sums = [part[0, :, :TOKENS, :TOKENS].sum(1) for part in out.attentions]
            worst["column sums"] = max(error(layer["observed_attention"], part) for layer, part in zip(trace.layers, sums))
        place = trace.info["attn_out_at"]
    bad = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    return ("wrong" if bad else "verified"), ", ".join([*(f"{name} differ by {value:.2g}" for name, value in worst.items()), place])


def error(ours, theirs):
    theirs = theirs.detach().double().numpy()
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)) if ours.shape == theirs.shape else np.inf


if __name__ == "__main__":
    main()
