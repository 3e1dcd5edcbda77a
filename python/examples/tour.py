"""A tour of lava_kv, to be read and run from top to bottom: record, replay, compare, and see what is kept.

    PYTHONPATH=python python3 python/examples/tour.py [MODEL]

MODEL is a Hugging Face folder, such as ~/.cache/lava/SmolLM2-135M-Instruct; without one, a tiny model of the repository is recorded
where torch and transformers are installed, and a trace of it that the repository has is taken where they are not. Editors and
Jupyter (by jupytext) show each `# %%` as a cell.
"""

# %% What this needs
import sys
import tempfile
from pathlib import Path

import lava_kv

clone = Path(__file__).resolve().parents[2]
workspace = tempfile.TemporaryDirectory()
folder = Path(workspace.name)

# %% Record
# A trace holds keys, values and the last queries of every layer, and the steps after the prompt on which losses are measured.
# The prompt of a model with a tokenizer is a text, and a stretch of it that shall be followed is named by its characters.
story = (clone / "data/story.txt").read_text(encoding="utf-8")
sentence = "One day, she saw a big, red ball."
ball = ("ball", story.index(sentence), story.index(sentence) + len(sentence))

sample = lava_kv.Trace(clone / "traces/samples/stories260K.trace.h5")
try:
    import torch  # noqa: F401
    import transformers
except ImportError as missing:
    print(f"{missing.name} is not installed: this takes the trace that the repository has")
    trace = sample
else:
    transformers.utils.logging.disable_progress_bar()
    model_folder = sys.argv[1] if len(sys.argv) > 1 else str(clone / "models/stories260K")
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype="auto").eval()
    if len(sys.argv) > 1:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
        trace = lava_kv.record(model, tokenizer, story, folder / "trace.h5", spans=[ball], steps=16, weights=model_folder)
    else:  # transformers does not read the tiny model's tokenizer: its prompt is token ids, and the sentence a range of these
        trace = lava_kv.record(model, None, sample.info["prompt_ids"], folder / "trace.h5", spans=sample.info["spans"], steps=16)

print(f"{trace.info['num_layers']} layers x {trace.info['num_kv_heads']} KV heads, {trace.info['seq_len']} tokens")
print("keys of layer 2:", trace.layers[2]["k"].shape)  # [KV heads, tokens, head_dim]

# %% Replay
# A budget is what a KV head keeps on average, the recent entries that are never evicted included: entries, or a share of the prompt.
report = lava_kv.replay(trace, ["snapkv", "ada-snapkv", "lava", "streaming-llm"], ["20%", "40%"], output=folder / "report.h5")
print(report)

# %% What is retained
# LAVa divides the budget over layers and heads by itself.
lava = next(policy for policy in report.policies if policy.name == "lava")
print(f"lava at {lava.budgets[0]} entries a head keeps, layer by layer:", lava.counts[0].sum(axis=1))

# Whether any head of a layer still has a token of the sentence:
name, begin, end = report.info["spans"][0]
for budget in lava.budgets:
    kept = report.kept_mask("lava", budget, "nominal")  # [layers, heads, tokens]
    print(f"budget {budget}: {kept[:, :, begin:end].any(axis=1).sum(axis=1)} of {end - begin} tokens of {name!r} in each layer")

# %% Compare
# From here on the numbers are tables of pandas. `attn_out_l1_relative` is how far the attention's outputs are from those with the
# whole cache, relative to their size; `match` says whether a budget is what the policy's rule was given, or what is then retained.
try:
    table = report.table()
except ImportError as missing:
    print(f"The rest of the tour: {missing}.")
    sys.exit()
print(table[["policy", "match", "budget", "retained", "attn_out_l1_relative", f"survival_{name}"]].to_string(index=False))
print(report.layers("lava", match="nominal").pivot(index="layer", columns="budget", values="attn_out_l1_relative"))

# Any other table of lava-analyze comes by its name: here what became of the sentence in each layer.
spans = report.analyze("spans", "lava", int(lava.budgets[-1]), "nominal", "--by=layer")
print(spans[["span", "layer", "survival", "global_eviction"]].to_string(index=False))

# %% See what is kept
# A row for every entry that is kept, beside the tokens' texts: the sentence's words by how many heads keep them.
entries = report.kept("lava", int(lava.budgets[-1]), "nominal").merge(report.tokens(), on="position")
print(entries[entries["span"] == name].groupby(["position", "text"]).size().rename("heads").reset_index().to_string(index=False))

# %% Everything else
# The report's arrays, with names for their axes, where xarray is installed: here the steps on which the last layer is worst.
try:
    arrays = report.to_xarray(match="nominal")
except ImportError as missing:
    print(f"The report's arrays: {missing}.")
else:
    relative = arrays["attn_out_l1"].isel(layer=-1) / arrays["dense_attn_out_l1"].isel(layer=-1)
    for policy, budget, step in zip(arrays["policy"].values, arrays["budget"].values, relative.argmax("step").values):
        print(f"{policy} at {budget}: the last layer loses most at step {step}")
