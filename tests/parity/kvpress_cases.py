"""Which of our policies is which press of kvpress 0.5.5."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Callable, Optional

import numpy as np
import torch
from kvpress import (AdaKVPress, BlockPress, ChunkKVPress, ChunkPress, CompactorPress, CriticalAdaKVPress, CriticalKVPress,
                     DuoAttentionPress, ExpectedAttentionPress, KeyDiffPress, KnormPress, KVzipPress, LagKVPress, LeverageScorePress,
                     NonCausalAttnPress, ObservedAttentionPress, PerLayerCompressionPress, PyramidKVPress, QFilterPress, RandomPress,
                     SimLayerKVPress, SnapKVPress, StreamingLLMPress, TOVAPress)


@dataclass
class Case:
    policy: str
    make: Callable[[float], Any]  # the press at a compression ratio
    by_ratio: bool = True  # False: what it keeps does not follow from a budget
    most_evicted: float = 1  # ratios above leave a stage less than SnapKV's window of tied entries: torch's choice among them differs
    attention: str = "sdpa"
    by_scores: bool = True  # what it cuts is the last score it computed
    tolerance: float = 1e-4  # of a score, relative: float32 in another order of sums
    most_differences: float = 0.001  # share of the kept entries that may differ, where the cut cannot be judged by scores
    draw: Optional[Callable[[Any], None]] = None  # what earlier layers draw from torch's generator

    def press(self, ratio):
        return self.make(ratio)

    def seed(self, module):
        """Brings torch's generator where it would be had kvpress run this press alone, from seed 5 on."""
        if self.draw is not None:
            torch.manual_seed(5)
            for _ in range(module.layer_idx):
                self.draw(module)


def scorer(policy, make, **options):
    return Case(policy, lambda ratio: make(compression_ratio=ratio), **options)


def cases(work, config, tokens):
    """`work`: a folder for what policies read from files."""
    chosen = [
        scorer("random@kvpress:seed=3", lambda compression_ratio: RandomPress(compression_ratio, seed=3)),
        scorer("streaming-llm@kvpress", StreamingLLMPress),
        scorer("h2o@kvpress", ObservedAttentionPress, attention="eager"),
        scorer("tova@kvpress", TOVAPress),
        scorer("snapkv@kvpress", SnapKVPress),
        scorer("snapkv@kvpress:window=16,kernel=7", lambda compression_ratio: SnapKVPress(compression_ratio, 16, 7)),
        scorer("pyramidkv@kvpress", PyramidKVPress),
        scorer("pyramidkv@kvpress:window=8,beta=5", lambda compression_ratio: PyramidKVPress(compression_ratio, 8, beta=5)),
        scorer("knorm@kvpress", KnormPress),
        scorer("keydiff@kvpress", KeyDiffPress),
        Case("keydiff@kvpress:block=128", lambda ratio: BlockPress(KeyDiffPress(ratio)), by_scores=False),
        scorer("lagkv@kvpress", LagKVPress, tolerance=1.01 / 128),  # a place more or less
        scorer("lagkv@kvpress:lag=100,across=on", lambda compression_ratio: LagKVPress(compression_ratio, lag_size=100,
                                                                                       cross_scoring=True)),
        scorer("expected-attention@kvpress", ExpectedAttentionPress),
        Case("ada:base=[expected-attention:epsilon=0.01]", lambda ratio: AdaKVPress(ExpectedAttentionPress(ratio, epsilon=1e-2))),
        Case("ada-snapkv@kvpress", lambda ratio: AdaKVPress(SnapKVPress(ratio))),
        Case("ada@kvpress", lambda ratio: AdaKVPress(SnapKVPress(ratio))),
        Case("ada:base=keydiff,alpha=0.5", lambda ratio: AdaKVPress(KeyDiffPress(ratio), alpha_safeguard=0.5)),
        Case("ada:base=knorm,alpha=0", lambda ratio: AdaKVPress(KnormPress(ratio), alpha_safeguard=0)),
        Case("criticalkv@kvpress", lambda ratio: CriticalKVPress(SnapKVPress(ratio)), most_evicted=0.75),
        Case("criticalkv:base=[snapkv@kvpress:window=16]", lambda ratio: CriticalKVPress(SnapKVPress(ratio, 16))),
        Case("criticalkv:base=[expected-attention:value_norm=off]",
             lambda ratio: CriticalKVPress(ExpectedAttentionPress(ratio, use_vnorm=False))),
        Case("critical-ada@kvpress", lambda ratio: CriticalAdaKVPress(SnapKVPress(ratio)), by_scores=False, most_evicted=0.75),
        Case("critical-ada:base=[snapkv@kvpress:window=8]", lambda ratio: CriticalAdaKVPress(SnapKVPress(ratio, 8)), by_scores=False),
        Case("critical-ada:base=[expected-attention:value_norm=off]",
             lambda ratio: CriticalAdaKVPress(ExpectedAttentionPress(ratio, use_vnorm=False)), by_scores=False),
        Case("ada:base=criticalkv@kvpress", lambda ratio: AdaKVPress(CriticalKVPress(SnapKVPress(ratio))), most_evicted=0.75),
    ]
    chosen += [
        Case("chunkkv@kvpress", lambda ratio: ChunkKVPress(SnapKVPress(ratio)), by_scores=False, most_evicted=0.75),
        Case("chunkkv:base=[snapkv@kvpress:window=16]", lambda ratio: ChunkKVPress(SnapKVPress(ratio, 16)), by_scores=False),
        Case("chunkkv:base=knorm,chunk=7", lambda ratio: ChunkKVPress(KnormPress(ratio), 7), by_scores=False),
        Case("chunk:base=keydiff,length=256", lambda ratio: ChunkPress(KeyDiffPress(ratio), 256), by_scores=False),
        scorer("leverage@kvpress:seed=5", LeverageScorePress, tolerance=1e-3, draw=sketch),
        scorer("noncausal@kvpress", NonCausalAttnPress, tolerance=1e-3),
        scorer("compactor@kvpress:seed=5", CompactorPress, tolerance=1e-3, draw=sketch),
        Case("simlayerkv:threshold=0.5,recent=256", lambda _: SimLayerKVPress(0.5, n_recent=256), by_ratio=False, by_scores=False),
        Case("simlayerkv:threshold=0.8,last=8,recent=256", lambda _: SimLayerKVPress(0.8, 8, 256), by_ratio=False, by_scores=False),
    ]
    return chosen + from_files(work, config)


def sketch(module):
    """What LeverageScorePress draws in a layer."""
    torch.randn(1, module.config.num_key_value_heads, module.head_dim, 48)


def from_files(work, config):
    """Policies that read learned numbers: random ones here."""
    generator = np.random.default_rng(11)
    layers, heads = config.num_hidden_layers, config.num_key_value_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    filters = generator.standard_normal((layers, heads, head_dim)).astype(np.float32)
    np.save(work / "filters.npy", filters)
    head_scores = generator.random((layers, heads))
    np.savetxt(work / "heads.tsv", head_scores, delimiter="\t")
    ratios = np.round(generator.random(layers), 2)
    ratios[0] = 0
    np.savetxt(work / "ratios.txt", ratios)

    def qfilter(ratio):
        press = QFilterPress(ratio)
        press.q_filters = torch.from_numpy(filters)
        return press

    def duo(ratio):
        press = DuoAttentionPress(head_compression_ratio=ratio)
        press.load_attention_pattern = lambda model: (16, 64, head_scores)
        press.post_init_from_model(SimpleNamespace(device="cpu"))
        return press

    class PerLayer(PerLayerCompressionPress):
        """A press whose hook sets the layer's ratio, then compresses."""

        def compress(self, module, *arguments):
            self.press.compression_ratio = self.compression_ratios[module.layer_idx]
            return self.press.compress(module, *arguments)

    return [
        Case(f"qfilter@kvpress:file={work / 'filters.npy'}", qfilter),
        Case(f"duo-attention@kvpress:sinks=16,recent=64,file={work / 'heads.tsv'}", duo, by_scores=False),
        Case(f"per-layer:base=snapkv@kvpress,file={work / 'ratios.txt'}", lambda _: PerLayer(SnapKVPress(), list(ratios)),
             by_ratio=False),
    ]


def kvzip_cases(work, config, tokens):
    """KVzip cuts all layers at once, when its scores are there: random ones. Case.make gives the press with them in it."""
    scores = np.random.default_rng(12).random((config.num_hidden_layers, config.num_key_value_heads, tokens)).astype(np.float32)
    np.save(work / "scores.npy", scores)

    def press(layerwise):
        def make(ratio):
            kvzip = KVzipPress(ratio, layerwise=layerwise)
            kvzip.score_val = torch.from_numpy(scores.copy()).unsqueeze(1)
            return kvzip
        return make

    return [Case(f"kvzip@kvpress:scores={work / 'scores.npy'}", press(False), by_scores=False),
            Case(f"kvzip@kvpress:layerwise=on,scores={work / 'scores.npy'}", press(True), by_scores=False)]
