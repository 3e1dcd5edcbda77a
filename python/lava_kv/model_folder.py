"""The folder of a transformers model as lava_capture.py reads it: whatever is not a causal language model, whole, is a ValueError of one
sentence."""

from pathlib import Path

STORED = ("float32", "float16", "bfloat16")
POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_pointers(folder):
    """What a repository holds in large files' place until Git LFS has fetched them."""
    for file in sorted(path for path in Path(folder).iterdir() if path.is_file()):
        with file.open("rb") as stream:
            if stream.read(len(POINTER)) == POINTER:
                raise ValueError(f"{file}: a Git LFS pointer, not the file itself: `git lfs pull` in its folder fetches it")


def read_config(folder):
    """The configuration, of a causal language model."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, __version__

    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder}: expected a config.json, found none")
    try:
        config = AutoConfig.from_pretrained(folder)
    except Exception as error:  # whatever its reader raises
        raise ValueError(f"{folder}: transformers {__version__} cannot read its config.json: {first_line(error)}") from error
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"{folder}: expected a causal language model of transformers {__version__}, found one of type {config.model_type}")
    return config


def read_tokenizer(folder):
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # also of what it would need, which may not be installed
        raise ValueError(f"{folder}: its tokenizer cannot be read: {first_line(error)}") from error
    files = type(tokenizer).vocab_files_names.values()
    if files and not any((Path(folder) / name).is_file() for name in files):  # transformers 5.2 invents an empty one
        raise ValueError(f"{folder}: its tokenizer cannot be read: expected {' or '.join(sorted(files))}, found none")
    return tokenizer


def load_model(folder, dtype, device):
    """The model, ready to run, and a note on tensors that are left out, or an empty one. Without a tensor of its own it would be run with
    random numbers in that tensor's place."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its report on what is missing is a table
    try:
        model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True)
    except Exception as error:
        raise ValueError(f"{folder}: transformers does not load it as a causal language model: {first_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
    for name, here, expected in sorted(found["mismatched_keys"]):
        raise ValueError(f"{folder}: tensor {name}: expected shape {list(expected)}, found {list(here)}")
    if found["missing_keys"]:
        raise ValueError(f"{folder}: expected all tensors of a {model.config.model_type}, found no {_some(found['missing_keys'])}")
    if str(model.dtype).removeprefix("torch.") not in STORED:
        raise ValueError(f"{folder}: expected numbers of type {', '.join(STORED)}, found {model.dtype}: give --dtype")
    try:
        model = model.to(device).eval()
    except Exception as error:
        raise ValueError(f"--device {device}: torch does not use it: {first_line(error)}") from error
    unused = found["unexpected_keys"]
    return model, f"{folder}: the model has no use for {_some(unused)}" if unused else ""


def check_ids(model, job, steps):
    """Token ids that the model has and, where it learned its positions one by one, no more of them than that."""
    where = f"{job.where}: " if job.where else ""
    embeddings, config = model.get_input_embeddings(), model.config.get_text_config()
    size = getattr(embeddings, "num_embeddings", None) or getattr(config, "vocab_size", None)
    for name, ids in (("token", job.ids), ("reference: token", job.reference or ())):
        for index, value in enumerate(ids):
            if size is not None and value >= size:
                raise ValueError(f"{where}{name} {index}: expected an id below {size}, the model's vocabulary, found {value}")
    most, length = getattr(config, "max_position_embeddings", None), len(job.ids) + (steps if job.reference is None else len(job.reference))
    if isinstance(most, int) and length > most and not any(hasattr(module, "inv_freq") for module in model.modules()):
        raise ValueError(f"{where}expected at most {most} tokens, the model's positions, found {length} with the steps after the prompt")


def first_line(error):
    """What an error says, in one line: some say it at length, or begin with an empty line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _some(names):
    names = sorted(names)
    return f"{names[0]}" + (f" nor {len(names) - 1} others" if len(names) > 1 else "")
