"""Record a lava trace of any transformers model, also of one that lava-capture's own decoder does not know.

    from lava_capture import capture
    capture(model, prompt_ids, "trace.h5", tokenizer=tokenizer, steps=16)

or `python lava_capture.py MODEL --prompt-file FILE -o trace.h5`, `python lava_capture.py MODEL --prompts FILE.jsonl -o FOLDER`; the
options mean what they mean to lava-capture. Needs torch, transformers 5, numpy and h5py, and the folder lava_kv: beside this file,
in python/ of the source tree, or installed (`pip install .`). What it does stands in lava_kv/capture.py.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve()
for folder in (HERE.parent, *(parent / "python" for parent in HERE.parents[2:3])):
    if (folder / "lava_kv").is_dir():
        sys.path.insert(0, str(folder))
        break
from lava_kv.capture import STORES, capture, main, run_main  # noqa: E402, F401

if __name__ == "__main__":
    run_main()
