"""Record a model's KV cache, replay eviction policies over it, and look at what each keeps and what that costs.

    import lava_kv
    lava_kv.write_trace("trace.h5", layers)                  # from any framework
    trace = lava_kv.record(model, tokenizer, text, "trace.h5")   # or of a transformers model
    report = lava_kv.replay(trace, ["snapkv", "lava"], [128, "20%"])
    print(report.table()[["policy", "budget", "attn_out_l1_relative"]])

Traces are read and written here; policies are replayed and losses summed up by the programs lava-replay and lava-analyze
(`lava_kv.programs` says where they are looked for). Needs numpy and h5py. What returns pandas or xarray needs that, and
record() needs torch and transformers; each is imported when it is used.
"""

from .programs import ProgramError, find_program
from .recording import record
from .replaying import replay
from .report import ReplayedPolicy, Report
from .scoring import scores
from .trace import LAYER_KEYS, Layer, Trace, TraceWriter, write_trace

__version__ = "0.1.0"
__all__ = ["LAYER_KEYS", "Layer", "ProgramError", "ReplayedPolicy", "Report", "Trace", "TraceWriter", "find_program", "record",
           "replay", "scores", "write_trace"]
