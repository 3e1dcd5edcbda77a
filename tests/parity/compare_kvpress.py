#!/usr/bin/env python3
"""Runs kvpress's presses, live, inside one prefill of SmolLM2 and of a small random model, replays the same prompts here, and compares
what is retained: as many entries in every head, and none of them scored lower, by kvpress's own scores, than one that was evicted, ties
and float32 rounding aside. Usage: compare_kvpress.py MODEL_FOLDER [BUILD_FOLDER]. Needs kvpress 0.5.5, transformers and torch."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from kvpress_cases import cases, kvzip_cases

ROOT = Path(__file__).resolve().parents[2]
RATIOS = [0.3, 0.75, 0.95]
TOKENS = 1100


@dataclass
class Layer:
    """What kvpress did in one layer: kept positions of every head, and the scores it went by ([num_kv_heads, seq_len])."""
    kept: list
    scores: torch.Tensor
    layer_wide: bool  # the cut goes through all heads together


@dataclass
class Recorder:
    """Presses that are run on the side: nothing is evicted, so that every press sees the same prefill."""
    cases: list
    results: dict = field(default_factory=dict)

    def hook(self, module, args, kwargs, output):
        cache = kwargs["past_key_values"].layers[module.layer_idx]
        for case in self.cases:
            for ratio in ratios(case):
                layer = run_press(case, ratio, module, kwargs, cache.keys, cache.values, output[1])
                self.results.setdefault((case.policy, ratio), []).append(layer)
        return output


def ratios(case):
    return [ratio for ratio in RATIOS if ratio <= case.most_evicted] if case.by_ratio else [None]


@contextmanager
def recorded_scores(press):
    """A list that fills with what score() gives and what torch.topk() is given; the last of it is what was cut."""
    scores, topk = [], torch.topk
    scorer = press if hasattr(press, "score") else getattr(press, "press", None)

    def recording_score(*arguments, **named):
        scores.append(type(scorer).score(scorer, *arguments, **named))
        return scores[-1]

    def recording_topk(values, *arguments, **named):
        scores.append(values)
        return topk(values, *arguments, **named)

    if hasattr(scorer, "score"):
        object.__setattr__(scorer, "score", recording_score)
    torch.topk = recording_topk
    try:
        yield scores
    finally:
        torch.topk = topk


def run_press(case, ratio, module, kwargs, keys, values, attentions):
    """press.compress() as its hook would call it, on copies."""
    press = case.press(ratio)
    module.masked_key_indices = None
    case.seed(module)
    with recorded_scores(press) as scores:
        kept_keys, _ = press.compress(module, kwargs["hidden_states"], keys.clone(), values.clone(), attentions, kwargs)
    if module.masked_key_indices is None:
        return Layer(positions(keys[0], kept_keys[0]), scores[-1][0] if case.by_scores and scores else None, False)
    by = -scores[-1].view(keys.shape[1:3]) if case.by_scores else None  # the evicted are the largest negated scores
    return Layer(not_masked(module, keys.shape[1], keys.shape[2]), by, True)


def not_masked(module, heads, tokens):
    kept = torch.ones(heads, tokens, dtype=torch.bool)
    kept[module.masked_key_indices[1], module.masked_key_indices[2]] = False
    return [head.nonzero().flatten().tolist() for head in kept]


def after_all_layers(folder, chosen, tokens):
    """{(policy, ratio): [Layer of every layer]} of presses that cut when the scores of all layers are there."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    results = {}
    for case in chosen:
        for ratio in ratios(case):
            case.press(ratio).compress_post(model)
            results[case.policy, ratio] = [Layer(not_masked(layer.self_attn, model.config.num_key_value_heads, tokens), None, True)
                                           for layer in model.model.layers]
    return results


def positions(keys, kept):
    """Where the rows of `kept` stand among `keys`. [heads, tokens, head_dim] both"""
    found = []
    for all_rows, rows in zip(keys.numpy(), kept.numpy()):
        place = {row.tobytes(): i for i, row in enumerate(all_rows)}
        found.append(sorted(place[row.tobytes()] for row in rows))
    return found


def prefill(folder, ids, attention, chosen):
    """{(policy, ratio): [Layer of every layer]}"""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    recorder = Recorder(chosen)
    handles = []
    for layer in model.model.layers:
        layer.self_attn.rotary_emb = model.model.rotary_emb
        handles.append(layer.self_attn.register_forward_hook(recorder.hook, with_kwargs=True))
    with torch.inference_mode():
        model.model(input_ids=torch.tensor([ids]), past_key_values=transformers.DynamicCache())
    for handle in handles:
        handle.remove()
    return recorder.results


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def capture(build, folder, ids, work, window):
    (work / "ids.json").write_text(json.dumps(ids))
    run(build / "capture" / "lava-capture", "--model", folder, "--ids", work / "ids.json", "--continue", 1, "--window", window,
        "-o", work / "trace.h5")


def replay(build, work, chosen, tokens):
    """{(policy, ratio): kept[layer][head]}"""
    policies = [option for case in chosen for option in ("-p", case.policy)]
    run(build / "replay" / "lava-replay", work / "trace.h5", *policies, "--match", "nominal", "--budget", ",".join(f"ratio:{r}" for r in RATIOS),
        "-o", work / "report.h5")
    rows = json.loads(run(build / "analysis" / "lava-analyze", "table", work / "report.h5", "--format", "json"))
    settled = {row["policy"]: row["budget"] for row in rows}  # the last, or of those that ignore budgets the only one
    kept = {}
    for case in chosen:
        for ratio in ratios(case):
            budget = settled[case.policy] if ratio is None else max(1, int(tokens * (1 - ratio)))
            text = run(build / "analysis" / "lava-analyze", "retained", work / "report.h5", "--policy", case.policy,
                       "--budget", budget, "--format", "json")
            kept[case.policy, ratio] = json.loads(text)["kept"]
    return kept


def gap(kept, scores):
    """By how much the best evicted entry outranks the worst kept one; 0 or less: a valid choice. scores: [entries]"""
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[kept] = True
    if mask.all() or not mask.any():
        return 0.0
    worst, best = scores[mask].min().double(), scores[~mask].max().double()
    return ((best - worst) / max(abs(best), abs(worst), 1e-30)).item()


def flat(kept, tokens):
    return [head * tokens + position for head, places in enumerate(kept) for position in places]


def differences(ours, theirs, tokens):
    """(entries that one keeps and the other does not, largest gap, whether the counts agree) of one layer"""
    wrong = len(set(flat(ours, tokens)) ^ set(flat(theirs.kept, tokens)))
    if wrong == 0:
        return 0, 0.0, True
    if theirs.layer_wide:
        same = sum(map(len, ours)) == sum(map(len, theirs.kept))
        worst = gap(flat(ours, tokens), theirs.scores.flatten()) if theirs.scores is not None else float("inf")
    else:
        same = [len(head) for head in ours] == [len(head) for head in theirs.kept]
        worst = float("inf")
        if theirs.scores is not None:
            worst = max(gap(head, scores) for head, scores in zip(ours, theirs.scores))
    return wrong, worst, same


def compare(name, case, ratio, ours, theirs, tokens):
    wrong, worst, counts = 0, 0.0, True
    for our_layer, their_layer in zip(ours, theirs, strict=True):
        entries, distance, same = differences(our_layer, their_layer, tokens)
        wrong, worst, counts = wrong + entries, max(worst, distance), counts and same
    kept = sum(len(head) for layer in theirs for head in layer.kept)
    settled = case.most_differences * kept
    alike = counts and (wrong == 0 or worst <= case.tolerance or wrong <= settled)
    print(f"{'alike' if alike else 'DIFFER'}  {name}  {case.policy}  ratio {ratio}: {kept} kept, {wrong} differ, gap {worst:.1e}"
          + ("" if counts else ", counts differ"))
    return alike


def compare_model(name, folder, ids, build):
    tokens = len(ids)
    with tempfile.TemporaryDirectory() as folder_of_work:
        work = Path(folder_of_work)
        config = transformers.AutoConfig.from_pretrained(folder)
        chosen = cases(work, config, tokens)
        theirs = {}
        for attention in ("sdpa", "eager"):
            theirs |= prefill(folder, ids, attention, [case for case in chosen if case.attention == attention])
        zip_cases = kvzip_cases(work, config, tokens)
        theirs |= after_all_layers(folder, zip_cases, tokens)
        chosen += zip_cases
        capture(build, folder, ids, work, tokens)
        ours = replay(build, work, chosen, tokens)
    results = [compare(name, case, ratio, ours[case.policy, ratio], theirs[case.policy, ratio], tokens)
               for case in chosen for ratio in ratios(case)]
    return results.count(False)


def random_model(folder):
    """Other head counts than SmolLM2's: 8 query heads on 2 KV heads of 32."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=512, hidden_size=96, intermediate_size=128, num_hidden_layers=3, num_attention_heads=8,
                                      num_key_value_heads=2, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():  # sharper attention than the usual initialisation gives
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    model.save_pretrained(folder)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare_kvpress.py MODEL_FOLDER [BUILD_FOLDER]")
    build = Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "build" / "release"
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    ids = json.loads((ROOT / "tests" / "data" / "smollm2_reference.json").read_text())["token_ids"][:TOKENS]
    with tempfile.TemporaryDirectory() as folder:
        random_model(folder)
        wrong = compare_model("random model", folder, [token % 512 for token in ids[:701]], build)
    wrong += compare_model("SmolLM2", sys.argv[1], ids, build)
    print(f"{wrong} comparisons differ")
    sys.exit(0 if wrong == 0 else 1)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
