#!/usr/bin/env python3
"""The closed loop against transformers: SmolLM2 reads the head of the committed prompt, several policies evict, and each
retained set is decoded in transformers with everything else masked, head by head, positions kept. Compares divergence, cross
entropy, most likely tokens and greedy answers; once more with the same weights as a Mistral whose sliding window the prompt
exceeds. Usage: compare_closed_loop.py MODEL_FOLDER [BUILD_FOLDER]. Needs transformers, torch and h5py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, DynamicCache

ROOT = Path(__file__).resolve().parents[2]
TOKENS, STEPS, WINDOW = 700, 8, 300
POLICIES = ["snapkv", "lava", "streaming-llm", "h2o"]
BUDGETS = [48, 128, 400]
# Two float32 runs differ by about 1e-5 in a logit; a divergence that small is all rounding.
RELATIVE, ABSOLUTE = 1e-2, 2e-6

kept = None  # [layers, KV heads, TOKENS] bool while a retained set is decoded; None: everything


def masked_attention(module, query, key, value, attention_mask, scaling, sliding_window=None, **_):
    """Attention of the last token in which every KV head sees what it retains of the prompt, and all that came after, as far
    as the model's window reaches."""
    groups = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * scaling
    length, fresh = key.shape[2], query.shape[2]
    causal = torch.ones(fresh, length, dtype=torch.bool).tril(length - fresh)
    if sliding_window is not None:
        causal &= ~causal.tril(length - fresh - sliding_window)
    visible = causal.expand(key.shape[1], fresh, length).clone()
    if kept is not None:
        visible[:, :, :TOKENS] &= kept[module.layer_idx][:, None, :]
    scores = scores.masked_fill(~visible.repeat_interleave(groups, 0), float("-inf"))
    weights = torch.softmax(scores, -1, dtype=torch.float32)
    return (weights @ value.repeat_interleave(groups, 1)).transpose(1, 2).contiguous(), None


def run_ours(model, build, ids, folder):
    (folder / "ids.json").write_text(json.dumps(ids))
    run = lambda *command: subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    run(build / "capture" / "lava-capture", "--model", model, "--ids", folder / "ids.json", "--continue", STEPS, "-o",
        folder / "trace.h5")
    policies = [word for policy in POLICIES for word in ("-p", policy)]
    run(build / "replay" / "lava-replay", folder / "trace.h5", *policies, "-b", ",".join(map(str, BUDGETS)), "--match", "nominal",
        "--closed-loop", "--free", "--model", model, "-o", folder / "report.h5")
    return h5py.File(folder / "report.h5")


def decode(model, prefilled, inputs):
    """Logits after each of the inputs, from a copy of the prompt's cache."""
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefilled):
        cache.update(keys.clone(), values.clone(), layer)
    logits = []
    for token in inputs:
        token = logits[-1].argmax().item() if token is None else token
        position = torch.tensor([[cache.get_seq_length()]])
        logits.append(model(torch.tensor([[token]]), past_key_values=cache, position_ids=position).logits[0, -1].double())
    return torch.stack(logits)


def cells(report):
    for policy in report["policies"].values():
        for g, budget in enumerate(policy["budgets"][:]):
            ranking, counts = torch.from_numpy(policy["ranking"][:].astype("int64")), policy["counts"][g]
            mask = torch.zeros(ranking.shape, dtype=torch.bool)
            for layer in range(mask.shape[0]):
                for head in range(mask.shape[1]):
                    mask[layer, head, ranking[layer, head, :counts[layer, head]]] = True
            loop = policy["closed_loop"]
            ours = {name: loop[name][g] for name in ("kl", "cross_entropy", "top_ids", "generated_ids")}
            yield f"{policy.attrs['policy']} at {budget}", mask, ours


def compare(name, ours, theirs):
    excess = ((torch.tensor(ours, dtype=torch.float64) - theirs).abs() / (RELATIVE * theirs.abs() + ABSOLUTE)).max().item()
    if excess > 1:
        print(f"{name}: expected {theirs.tolist()}, found {list(ours)}")
    return excess


def windowed(folder, made):
    """The model of a folder as a Mistral with a sliding window, in the folder `made`."""
    made.mkdir()
    for file in Path(folder).resolve().iterdir():
        (made / file.name).symlink_to(file)
    config = json.loads((made / "config.json").read_text())
    config.update(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=WINDOW)
    (made / "config.json").unlink()
    (made / "config.json").write_text(json.dumps(config))
    return made


def agrees(folder, build):
    """Whether the model does in both what it does in one."""
    global kept
    kept = None
    ids = json.loads((ROOT / "tests" / "data" / "smollm2_reference.json").read_text())["token_ids"][:TOKENS]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="masked").eval()
    worst, wrong = 0.0, 0
    with tempfile.TemporaryDirectory() as work, torch.no_grad():
        report = run_ours(folder, build, ids, Path(work))
        inputs = report["closed_loop/input_ids"][:].tolist()
        prompt = model(torch.tensor([ids]), past_key_values=DynamicCache()).past_key_values  # the whole of it
        prefilled = [(layer.keys, layer.values) for layer in prompt.layers]
        dense = torch.log_softmax(decode(model, prefilled, inputs), -1)
        for name, kept, ours in cells(report):
            evicted = torch.log_softmax(decode(model, prefilled, inputs), -1)
            free = decode(model, prefilled, inputs[:1] + [None] * (STEPS - 2)).argmax(-1).tolist()
            worst = max(worst, compare(name + ": kl", ours["kl"], (dense.exp() * (dense - evicted)).sum(-1)),
                        compare(name + ": cross entropy", ours["cross_entropy"],
                                -evicted[range(STEPS - 1), inputs[1:]]))
            ends = [i for i, token in enumerate(inputs[:1] + free) if token in report["closed_loop/end_ids"][:]]
            if ends:  # -1 stands behind an answer's end
                free[ends[0]:] = [-1] * (len(free) - ends[0])
            same = ours["top_ids"].tolist() == evicted.argmax(-1).tolist() and ours["generated_ids"].tolist() == inputs[:1] + free
            if not same:
                print(f"{name}: other tokens than transformers: {ours['generated_ids'].tolist()}, {inputs[:1] + free}")
            wrong += not same
    print(f"closed loop, {len(POLICIES) * len(BUDGETS)} cells: worst deviation {worst:.2g} of the tolerance, {wrong} cells with "
          f"other tokens{f', sliding window of {WINDOW}' if getattr(model.config, 'sliding_window', None) else ''}")
    return worst <= 1 and wrong == 0


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare_closed_loop.py MODEL_FOLDER [BUILD_FOLDER]")
    build = Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "build" / "release"
    AttentionInterface.register("masked", masked_attention)
    with tempfile.TemporaryDirectory() as folder:
        results = [agrees(model, build) for model in (sys.argv[1], windowed(sys.argv[1], Path(folder) / "model"))]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
