#!/usr/bin/env python3
"""Records a tiny random model of every causal family of transformers with capture/python/lava_capture.py: each trace must pass
`lava-trace verify` and have the column sums and logits of transformers' own eager attention, or the model is refused with one sentence.
Usage: sweep_families.py [LAVA_TRACE [FAMILY...]]. Needs transformers, torch, h5py and numpy."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "capture" / "python"), str(ROOT / "traces" / "python")]
from lava_capture import capture  # noqa: E402
from lava_kv.model_parts import BEFORE_NORM  # noqa: E402
from lava_trace import read_trace  # noqa: E402

transformers.utils.logging.set_verbosity_error()
warnings.filterwarnings("ignore")

VERIFIED = 55  # families at least
NOT_BUILT = 12  # at most: families whose configuration has no small form that is the same for all
TOLERANCE = 1e-3  # of column sums and logits; float32 in another order of sums gives 1e-6, behind sharp attention 1e-4
POST_NORM = {"exaone4", "flex_olmo", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text", "glm4",
             "hyperclovax", "kolibri1", "olmo2", "olmo3"}
REFUSED = {"afmoe", "bitnet", "doge", "gemma2", "gpt_oss"}  # what their attention does more does not show in a trace
TOKENS, CHUNK, STEPS, WINDOW = 60, 25, 3, 20

# What makes a model tiny, by the names that configurations have for it; only what a configuration has is set.
SIZES = {
    "vocab_size": 97, "hidden_size": 64, "d_model": 64, "n_embd": 64, "embed_dim": 64, "intermediate_size": 40, "ffn_dim": 40,
    "decoder_ffn_dim": 40, "encoder_ffn_dim": 40, "n_inner": 40, "dff": 40, "d_ff": 40, "ffn_hidden_size": 40, "num_hidden_layers": 2,
    "num_layers": 2, "n_layer": 2, "n_layers": 2, "decoder_layers": 2, "encoder_layers": 1, "num_decoder_layers": 2,
    "num_encoder_layers": 1, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "num_decoder_attention_heads": 4, "num_key_value_heads": 2, "num_kv_heads": 2, "head_dim": 16,
    "max_position_embeddings": 256, "n_positions": 256, "rotary_dim": 4, "moe_intermediate_size": 24, "num_experts": 4,
    "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "shared_expert_intermediate_size": 24,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8, "v_head_dim": 12, "word_embed_proj_dim": 64, "sliding_window": WINDOW, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "embedding_size": 64, "moe_num_experts": 4, "moe_k": 2, "dim_head": 16, "dim_ff": 40,
    "head_size": 16, "expert_ffn_hidden_size": 24, "moe_topk": 2, "zero_expert_num": 1, "num_shared_experts": 1, "n_shared_experts": 1,
    "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 97, "num_kv_shared_layers": 0, "num_dense_layers": 1,
    "use_sliding_window": True, "max_window_layers": 1, "attention_chunk_size": WINDOW, "window_size": WINDOW, "mamba_n_heads": 4,
    "mamba_d_head": 32, "num_codebooks": 1, "d_kv": 16, "mlp_hidden_size": 40, "projection_dim": 64,
}
DECODERS = {"is_decoder": True, "use_cache": True, "add_cross_attention": False}


def tiny(config):
    """A configuration of the same family, of which all that it consists of is small."""
    for part in [config, *(getattr(config, name, None) for name in getattr(type(config), "sub_configs", {}))]:
        if part is not None:
            shrink(part)
    return config


def shrink(config):
    values, before = config.to_dict(), getattr(config, "num_hidden_layers", None)
    for name, value in {**SIZES, **DECODERS}.items():
        known = name in values or name in getattr(type(config), "attribute_map", {}) or hasattr(type(config), name)
        if known and (name != "attention_chunk_size" or values.get(name) is not None):
            set_size(config, name, value)
    if "qk_rope_head_dim" in values:  # latent attention: a head has parts with and without positions
        for name, value in (("head_dim", 8), ("qk_head_dim", 16), ("num_key_value_heads", 4)):
            set_size(config, name, value)
    layers = getattr(config, "num_hidden_layers", 2)
    for name, value in values.items():
        if isinstance(value, list) and len(value) == before:  # something of each layer: each kind of it once
            kinds = list({str(kind): kind for kind in value}.values())
            set_size(config, name, (kinds * layers)[:layers])


def set_size(config, name, value):
    try:
        setattr(config, name, value)
    except (AttributeError, TypeError, NotImplementedError, ValueError):
        pass  # one that follows from others


def build(family, **options):
    config = tiny(transformers.CONFIG_MAPPING[family](**options))
    torch.manual_seed(0)
    try:
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except Exception:  # of several models: the language model alone
        model = transformers.AutoModelForCausalLM.from_config(config.get_text_config(), dtype=torch.float32)
    model.eval()
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
    for family in wanted or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        kind, said = outcome(family, program)
        count[kind] += 1
        print(f"{family}: {kind}: {said}", flush=True)
        if kind == "wrong":
            wrong.append(family)
    print(", ".join(f"{number} {kind}" for kind, number in sorted(count.items())))
    residual_multiplier(program)
    if wrong or (not wanted and (count["verified"] < VERIFIED or count["not built"] > NOT_BUILT)):
        sys.exit(f"sweep_families.py: expected no wrong trace, at least {VERIFIED} families verified and at most {NOT_BUILT} not built, "
                 f"found {count['verified']}, {count['not built']} and wrong {', '.join(wrong) or 'none'}")


def outcome(family, program):
    """verified, refused, wrong or not built, and what is to be said of it."""
    try:
        model = build(family)
    except Exception as error:
        return "not built", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:150]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t.h5"
        try:
            ids = record(model, file)
        except ValueError as error:
            is_one_sentence = "\n" not in str(error) and not os.listdir(folder)
            return ("refused" if is_one_sentence else "wrong"), str(error)
        done = subprocess.run([program, "verify", file], capture_output=True, text=True)
        if done.returncode != 0 or family in REFUSED:
            return "wrong", done.stderr.strip() or "expected a refusal, found a trace"
        return compare(family, model, ids, file)


def record(model, file):
    ids = torch.randint(3, 97, [TOKENS], generator=torch.Generator().manual_seed(1)).tolist()
    return ids + capture(model, ids, file, steps=STEPS, window=8, chunk=CHUNK)


def residual_multiplier(program):
    """What multiplies the attention's output is a part of W_O, so that the residual stream adds up."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t.h5"
        record(build("granite", residual_multiplier=0.22), file)
        subprocess.run([program, "verify", file], check=True, stdout=subprocess.DEVNULL)
        with read_trace(file) as trace:
            worst = max(error(layer["resid_pre"] + layer["attn_out"], torch.from_numpy(layer["resid_mid"])) for layer in trace.layers)
            if trace.info["attn_out_at"] or not worst <= TOLERANCE:
                sys.exit(f"sweep_families.py: granite with a residual multiplier: the stream differs by {worst:.2g}")


def compare(family, model, ids, file):
    """With the model's own attention over all tokens at once."""
    model.set_attn_implementation("eager")
    out = model(input_ids=torch.tensor([ids]), use_cache=False, output_attentions=True)
    with read_trace(file) as trace, torch.no_grad():
        worst = {"logits": error(trace.logits, out.logits[0, TOKENS:])}
        if out.attentions and all(part is not None and part.shape[-2:] == (len(ids), len(ids)) for part in out.attentions):
            sums = [part[0, :, :TOKENS, :TOKENS].sum(1) for part in out.attentions]
            worst["column sums"] = max(error(layer["observed_attention"], part) for layer, part in zip(trace.layers, sums))
        place, windows = trace.info["attn_out_at"], trace.info["layer_windows"]
    said = [*(f"{name} differ by {value:.2g}" for name, value in worst.items()), place]
    if windows is not None:
        said.append(f"sliding windows {windows.tolist()}")
    good = all(value <= TOLERANCE for value in worst.values()) and (place == BEFORE_NORM if family in POST_NORM else not place)
    return ("verified" if good else "wrong"), ", ".join(part for part in said if part)


def error(ours, theirs):
    theirs = theirs.detach().double().numpy()
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)) if ours.shape == theirs.shape else np.inf


if __name__ == "__main__":
    main()
