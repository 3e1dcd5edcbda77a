#!/usr/bin/env python3
"""Builds small random models of every family and rope type with transformers, records each with lava-capture and compares every tensor
of the trace with what transformers computes: float32 within 1e-5 of the tensor's norm, at once and in chunks of 64; bfloat16 as near to float32 as transformers'
own bfloat16 run is. Usage: compare_families.py [BUILD_FOLDER]. Needs transformers 5.2.0, torch and h5py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import torch
import transformers
from transformers.masking_utils import AttentionMaskInterface, eager_mask

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5  # norm of the difference over the norm of the tensor; float32 in another order of sums gives about 1e-6
BFLOAT16_SLACK = 2  # our distance from float32 over that of transformers; small means of rounding noise differ that much
STEPS = 12
SKIPPED = 4  # first positions, which the statistics of the queries leave out

SIZES = dict(vocab_size=199, hidden_size=48, intermediate_size=80, num_hidden_layers=4, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
SHORT, LONG = [round(1 + 0.05 * i, 2) for i in range(8)], [round(1 + 0.9 * i, 2) for i in range(8)]
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)


def rope(theta=10000.0, **parameters):
    return dict(rope_parameters={"rope_theta": theta, "rope_type": "default", **parameters})


# keys that every family's configuration has a value of its own for, and what is left of a configuration without them
DEFAULTS = ("architectures", "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
            "tie_word_embeddings", "rope_parameters", "attention_bias", "mlp_bias", "sliding_window", "use_sliding_window",
            "max_window_layers", "layer_types", "no_rope_layers", "no_rope_layer_interval", "eos_token_id",
            "original_max_position_embeddings", "partial_rotary_factor", "dtype")
FEW = dict(vocab_size=199, hidden_size=128, intermediate_size=80, num_hidden_layers=4, pad_token_id=0, eos_token_id=2)

# name, tokens of the prompt, configuration; as_before: config.json in the spelling of transformers 4
CASES = [
    ("llama", 100, transformers.LlamaConfig(**{**SIZES, "num_key_value_heads": 6})),
    ("llama, as Llama 2", 100, transformers.LlamaConfig(**SIZES), dict(as_before=True, without=["rope_theta"])),
    ("llama, tied, biases", 100, transformers.LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    ("llama, head_dim, llama3", 200, transformers.LlamaConfig(**SIZES, head_dim=16, **rope(5e5, **LLAMA3))),
    ("llama, llama3, as Llama 3.1", 200, transformers.LlamaConfig(**SIZES, head_dim=16, **rope(5e5, **LLAMA3)), dict(as_before=True)),
    ("llama, linear", 300, transformers.LlamaConfig(**SIZES, **rope(rope_type="linear", factor=4.0)), dict(as_before=True)),
    ("llama, dynamic within", 100, transformers.LlamaConfig(**SIZES, **rope(rope_type="dynamic", factor=4.0))),
    ("llama, dynamic beyond", 500, transformers.LlamaConfig(**SIZES, **rope(rope_type="dynamic", factor=4.0)), dict(as_before=True)),
    ("llama, yarn", 200, transformers.LlamaConfig(**SIZES, **rope(**YARN))),
    ("llama, yarn, mscale", 200, transformers.LlamaConfig(
        **SIZES, head_dim=16, **rope(**YARN, mscale=1.5, mscale_all_dim=0.7, truncate=False, beta_fast=8.0, beta_slow=2.0))),
    ("llama, longrope short", 40, transformers.LlamaConfig(**SIZES, head_dim=16, **rope(
        rope_type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=64))),
    ("llama, longrope long", 200, transformers.LlamaConfig(**SIZES, head_dim=16, **rope(
        rope_type="longrope", factor=3.0, short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=64))),
    ("mistral", 100, transformers.MistralConfig(**SIZES, sliding_window=None, **rope(1e6))),
    ("mistral, within its window", 100, transformers.MistralConfig(**SIZES, sliding_window=112), dict(as_before=True)),
    ("mistral, beyond its window", 200, transformers.MistralConfig(**SIZES, sliding_window=50)),
    ("qwen2", 100, transformers.Qwen2Config(**SIZES, **rope(1e6)), dict(as_before=True)),
    ("qwen2, tied, yarn", 200, transformers.Qwen2Config(**SIZES, tie_word_embeddings=True, **rope(1e6, **YARN))),
    ("qwen2, upper layers slide", 200, transformers.Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=70, max_window_layers=2)),
    ("qwen3", 100, transformers.Qwen3Config(**SIZES, head_dim=16, **rope(1e6)), dict(as_before=True)),
    ("qwen3, biases, linear", 200, transformers.Qwen3Config(
        **SIZES, head_dim=32, attention_bias=True, **rope(1e6, rope_type="linear", factor=2.0))),
    ("qwen3, some layers slide", 200, transformers.Qwen3Config(
        **SIZES, head_dim=16, use_sliding_window=True, sliding_window=30, max_window_layers=1,
        layer_types=["sliding_attention", "full_attention"] * 2)),
    ("smollm3", 100, transformers.SmolLM3Config(**SIZES, no_rope_layer_interval=2, **rope(5e6)), dict(without=["no_rope_layers"])),
    ("smollm3, untied, biases", 100, transformers.SmolLM3Config(
        **SIZES, no_rope_layers=[1, 0, 0, 1], attention_bias=True, mlp_bias=True, tie_word_embeddings=False, **rope(5e6)),
        dict(as_before=True)),
    ("smollm3, unrotated layers slide", 200, transformers.SmolLM3Config(
        **SIZES, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=64, **rope(5e6))),
    ("phi3", 100, transformers.Phi3Config(**SIZES, original_max_position_embeddings=256, sliding_window=200), dict(as_before=True)),
    ("phi3, beyond its window", 200, transformers.Phi3Config(**SIZES, sliding_window=47)),
    ("phi3, longrope short", 40, transformers.Phi3Config(**SIZES, original_max_position_embeddings=64, **rope(
        rope_type="longrope", short_factor=SHORT[:4], long_factor=LONG[:4], original_max_position_embeddings=64))),
    ("phi3, longrope long", 200, transformers.Phi3Config(**SIZES, original_max_position_embeddings=64, **rope(
        rope_type="longrope", short_factor=SHORT[:4], long_factor=LONG[:4], original_max_position_embeddings=64)),
        dict(as_before=True)),
    ("phi3, partial rotary, longrope long", 200, transformers.Phi3Config(
        **SIZES, original_max_position_embeddings=64, partial_rotary_factor=0.5, tie_word_embeddings=True, **rope(
            rope_type="longrope", short_factor=SHORT[:2], long_factor=LONG[:2], original_max_position_embeddings=64,
            partial_rotary_factor=0.5))),
    ("llama, yarn, attn_factor", 200, transformers.LlamaConfig(**SIZES, **rope(**YARN, attn_factor=0.8782488562869419))),
    *((f"{config.model_type} of defaults", 100, config, dict(without=DEFAULTS)) for config in (
        transformers.LlamaConfig(**FEW, num_attention_heads=4), transformers.MistralConfig(**FEW, num_attention_heads=8),
        transformers.Qwen2Config(**FEW, num_attention_heads=32), transformers.Qwen3Config(**FEW, num_attention_heads=32),
        transformers.SmolLM3Config(**FEW, num_attention_heads=8), transformers.Phi3Config(**FEW, num_attention_heads=4))),
]


def draw_weights(model):
    """Weights that make every part matter: transformers' own beginnings are nearly the identity."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape)
        if "norm" in name:
            parameter.data = 1 + 0.3 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * (1.0 if "embed" in name else parameter.shape[1] ** -0.5)
    model.tie_weights()


def spell_as_before(values):
    """config.json as transformers 4 wrote it."""
    parameters = values.pop("rope_parameters")
    values["rope_theta"] = parameters.pop("rope_theta")
    values["torch_dtype"] = values.pop("dtype")
    share = parameters.pop("partial_rotary_factor", None)
    if share not in (None, 1.0):
        values["partial_rotary_factor"] = share
    if parameters["rope_type"] == "default":
        parameters = None
    values["rope_scaling"] = parameters


def save_model(config, folder, as_before=False, without=(), dtype=torch.float32):
    model = transformers.AutoModelForCausalLM.from_config(config)
    draw_weights(model)
    model.to(dtype).save_pretrained(folder, max_shard_size="60KB")
    file = Path(folder) / "config.json"
    values = json.loads(file.read_text())
    if as_before:
        spell_as_before(values)
    for key in without:
        values.pop(key, None)
    file.write_text(json.dumps(values))


class Recording:
    """What transformers computes of one run, under the names of the trace."""

    def __init__(self):
        self.of = {}  # (name, layer): pieces of the prompt and of the steps

    def add(self, name, layer, value):
        self.of.setdefault((name, layer), []).append(value[0].detach().float().clone())

    def attend(self, module, query, key, value, attention_mask, scaling, **_):
        """Attention as transformers' eager function, whose q, k, v and probabilities are kept."""
        if scaling != module.head_dim ** -0.5:
            sys.exit(f"compare_families.py: {type(module).__name__} scales by {scaling}")
        group = query.shape[1] // key.shape[1]
        scores = query @ key.repeat_interleave(group, 1).transpose(2, 3) * scaling + attention_mask
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        z = weights @ value.repeat_interleave(group, 1)
        n = query.shape[2]
        for name, tensor in (("q", query), ("k", key[:, :, -n:]), ("v", value[:, :, -n:]), ("weights", weights)):
            self.add(name, module.layer_idx, tensor)
        return z.transpose(1, 2).contiguous(), weights

    def watch(self, model):
        for index, layer in enumerate(model.model.layers):
            keep = lambda name, index=index: lambda _module, arguments, *result: self.add(
                name, index, (result[0][0] if isinstance(result[0], tuple) else result[0]) if result else arguments[0])
            layer.register_forward_pre_hook(keep("resid_pre"))
            layer.post_attention_layernorm.register_forward_pre_hook(keep("resid_mid"))
            layer.self_attn.register_forward_hook(keep("attn_out"))
            layer.mlp.register_forward_hook(keep("mlp_out"))
            self.watch_queries(index, layer.self_attn)

    def watch_queries(self, index, attention):
        """Queries before the rotary embedding, [num_heads, n, head_dim]: after the norm where there is one."""
        heads, head_dim = attention.config.num_attention_heads, attention.head_dim
        module = next(getattr(attention, name) for name in ("q_norm", "qkv_proj", "q_proj") if hasattr(attention, name))
        module.register_forward_hook(lambda _module, _arguments, result: self.add(
            "q_pre_rope", index, result.view(1, result.shape[1], -1, head_dim)[:, :, :heads].transpose(1, 2)))


def run_transformers(folder, dtype, prompt, steps):
    """name/layer -> tensor, as a trace has them, and the logits of the steps [T, vocab_size]."""
    recording = Recording()
    transformers.AttentionInterface.register("recording", recording.attend)
    AttentionMaskInterface.register("recording", eager_mask)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="recording")
    recording.watch(model)
    with torch.inference_mode():
        cache = model(torch.tensor([prompt]), use_cache=True).past_key_values
        logits = model(torch.tensor([steps]), past_key_values=cache, use_cache=True).logits[0].float()
    expected = {}
    for (name, layer), (of_prompt, of_steps) in recording.of.items():
        if name == "weights":
            expected[f"observed_attention/{layer}"] = of_prompt.sum(1)
            expected[f"observed_attention_off_diagonal/{layer}"] = of_prompt.tril(-1).sum(1)
        elif name == "q_pre_rope":
            of_prompt = of_prompt[:, SKIPPED:].double()
            mean = of_prompt.mean(1, keepdim=True)
            expected[f"q_pre_rope_mean/{layer}"] = mean[:, 0]
            expected[f"q_pre_rope_cov/{layer}"] = (of_prompt - mean).transpose(1, 2) @ (of_prompt - mean) / of_prompt.shape[1]
        elif name in ("k", "v"):
            expected[f"{name}/{layer}"], expected[f"{name}_eval/{layer}"] = of_prompt, of_steps
        elif name == "q":
            expected[f"q_window/{layer}"], expected[f"q_eval/{layer}"] = of_prompt, of_steps
        else:
            expected[f"{name}/{layer}"] = of_steps
    expected["logits"] = logits
    return expected


def decode(dataset):
    values = torch.from_numpy(dataset[:])
    if dataset.attrs.get("dtype") == "bfloat16":
        return (values.to(torch.int32) << 16).view(torch.float32)
    return values.float()


def run_capture(build, folder, dtype, prompt, steps, *options):
    """The trace of lava-capture, under the names of run_transformers()."""
    work = Path(folder)
    (work / "prompt.json").write_text(json.dumps(prompt))
    (work / "steps.json").write_text(json.dumps(steps))
    command = [build / "capture" / "lava-capture", "--model", work, "--ids", work / "prompt.json", "--reference", work / "steps.json",
               "--window", str(len(prompt)), "--dtype", str(dtype).removeprefix("torch."), "--embed-weights", "-o", work / "trace.h5", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"compare_families.py: {done.stderr}")
    found = {}
    with h5py.File(work / "trace.h5") as trace:
        for layer, group in trace["layers"].items():
            found.update({f"{name}/{int(layer)}": decode(values) for name, values in group.items() if name not in ("w_o", "b_o")})
        found["logits"] = decode(trace["logits"])
    return found


def distance(found, expected):
    if found.shape != expected.shape:
        sys.exit(f"compare_families.py: expected shape {tuple(expected.shape)}, found {tuple(found.shape)}")
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def distances(found, expected):
    if surplus := set(found) ^ set(expected):
        sys.exit(f"compare_families.py: only one side has {', '.join(sorted(surplus))}")
    return {name: distance(found[name], expected[name]) for name in expected}


def worst(errors):
    return max(errors.items(), key=lambda item: item[1])


def worst_value(errors):
    return max(errors.values())


def compare_trace(build, folder, prompt, steps):
    exact = run_transformers(folder, torch.float32, prompt, steps)
    ours = max((distances(run_capture(build, folder, torch.float32, prompt, steps, *chunk), exact)
                for chunk in ((), ("--chunk", "64"))), key=worst_value)
    rounded = distances(run_transformers(folder, torch.bfloat16, prompt, steps), exact)
    ours_rounded = distances(run_capture(build, folder, torch.bfloat16, prompt, steps), exact)
    slack = worst({name: ours_rounded[name] / rounded[name] for name in exact if rounded[name] > 0})
    return worst(ours), slack


def compare(build, name, tokens, config, options=None):
    torch.manual_seed(sum(name.encode()))
    options = options or {}
    with tempfile.TemporaryDirectory() as folder:
        save_model(config, folder, **options)
        ids = torch.randint(3, config.vocab_size, (tokens + STEPS,)).tolist()
        error, slack = compare_trace(build, folder, ids[:tokens], ids[tokens:])
    good = error[1] <= TOLERANCE and slack[1] <= BFLOAT16_SLACK
    print(f"{name:36} {tokens:4} tokens  float32 {error[1]:.1e} ({error[0]})  bfloat16 x {slack[1]:.2f} ({slack[0]})"
          f"{'' if good else '  FAILED'}", flush=True)
    return good


def main():
    if len(sys.argv) > 2:
        sys.exit("usage: compare_families.py [BUILD_FOLDER]")
    build = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "build" / "release"
    torch.set_num_threads(1)
    results = [compare(build, *case) for case in CASES]
    print(f"{sum(results)} of {len(results)} models agree (tolerance {TOLERANCE:g} in float32, x {BFLOAT16_SLACK} in bfloat16)")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
