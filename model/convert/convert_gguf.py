#!/usr/bin/env python3
"""Converts a Llama-architecture GGUF file to a Hugging Face folder.
Writes config.json, model.safetensors (dequantised to float32), tokenizer.json and tokenizer_config.json. Needs the PyPI
packages gguf, safetensors and numpy. float32 keeps the dequantised values as they are: 540 MB for a 135M model."""

import argparse
import sys
from pathlib import Path

import numpy as np
from hf_folder import ConversionError, json_writer, llama_config, run, unpermute_rope_rows, write_folder

try:
    import gguf
    from safetensors.numpy import save_file
except ImportError as error:
    sys.exit(f"convert_gguf.py: {error}; expected the PyPI packages gguf, safetensors and numpy")

TENSORS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# smollm splits digits one by one before the GPT-2 pattern; transformers' own GGUF conversion loses that step
PRE_TOKENIZERS = {
    "gpt-2": BYTE_LEVEL,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
}
CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type of tokens that are recognised in text


class Metadata:
    """The key-value part of a GGUF file."""

    def __init__(self, path, reader):
        self.path, self.fields = path, reader.fields

    def get(self, key, default=None):
        field = self.fields.get(key)
        return default if field is None else field.contents()

    def require(self, key):
        if key not in self.fields:
            raise ConversionError(f"{self.path}: expected the key {key}, found none")
        return self.get(key)


def open_gguf(path):
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ConversionError(f"{path}: not a GGUF file: expected it to begin with 'GGUF', found {magic!r}")
    try:
        return gguf.GGUFReader(path)
    except Exception as error:  # a damaged file reaches numpy and the enums inside, with whatever they throw
        raise ConversionError(f"{path}: a damaged or truncated GGUF file ({error})") from error


def refuse_unsupported(meta):
    architecture = meta.require("general.architecture")
    if architecture != "llama":
        raise ConversionError(f"{meta.path}: general.architecture: expected 'llama', found {architecture!r}")
    if meta.get("llama.expert_count", 0) > 0:
        raise ConversionError(f"{meta.path}: llama.expert_count: mixtures of experts are not supported")
    scaling = meta.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise ConversionError(f"{meta.path}: llama.rope.scaling.type: expected 'none', found {scaling!r}")


def shortest_float(value):
    """GGUF stores float32; 9.999999747378752e-06 is written as the 1e-05 it came from."""
    return float(str(np.float32(value)))


def read_config(meta, tied):
    heads, hidden = meta.require("llama.attention.head_count"), meta.require("llama.embedding_length")
    head_dim = meta.get("llama.attention.key_length", hidden // heads)
    if meta.get("llama.rope.dimension_count", head_dim) != head_dim:
        raise ConversionError(f"{meta.path}: llama.rope.dimension_count: expected head_dim {head_dim}, found "
                              f"{meta.get('llama.rope.dimension_count')}")
    config = llama_config(
        hidden_size=hidden,
        intermediate_size=meta.require("llama.feed_forward_length"),
        num_hidden_layers=meta.require("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=meta.get("llama.attention.head_count_kv", heads),
        head_dim=head_dim,
        vocab_size=len(meta.require("tokenizer.ggml.tokens")),
        max_position_embeddings=meta.require("llama.context_length"),
        rms_norm_eps=shortest_float(meta.require("llama.attention.layer_norm_rms_epsilon")),
        rope_theta=shortest_float(meta.require("llama.rope.freq_base")),
        tie_word_embeddings=tied,
    )
    for name in ("bos", "eos"):
        token = meta.get(f"tokenizer.ggml.{name}_token_id")
        if token is not None:
            config[f"{name}_token_id"] = token
    return config


def hugging_face_name(path, name):
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    parts = name.split(".")
    prefix = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
    base = parts[2] if prefix else parts[0]
    if parts[-1] != "weight" or base not in TENSORS:
        raise ConversionError(f"{path}: tensor {name}: not part of a Llama model without biases")
    return f"{prefix}{TENSORS[base]}.weight"


def read_tensors(path, reader, config):
    """{Hugging Face name: float32 array}"""
    tensors = {}
    for tensor in reader.tensors:
        name = hugging_face_name(path, tensor.name)
        try:
            weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        except NotImplementedError as error:
            raise ConversionError(f"{path}: tensor {tensor.name}: {tensor.tensor_type.name} cannot be "
                                  f"dequantised by the gguf package") from error
        # llama.cpp permutes Llama's q and k rows for a RoPE over adjacent pairs
        if name.endswith("q_proj.weight"):
            weight = unpermute_rope_rows(weight, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            weight = unpermute_rope_rows(weight, config["num_key_value_heads"])
        tensors[name] = np.ascontiguousarray(weight)
    return tensors


def added_tokens(tokens, types):
    return [{"id": index, "content": tokens[index], "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": kind == CONTROL}
            for index, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED)]


def post_processor(meta, tokens):
    """The token in front of every text, in tokenizer.json: transformers 5 does not look for it in tokenizer_config.json."""
    bos = meta.get("tokenizer.ggml.bos_token_id")
    if not meta.get("tokenizer.ggml.add_bos_token", False) or bos is None:
        return None
    token = tokens[bos]
    first, text = {"SpecialToken": {"id": token, "type_id": 0}}, [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {"type": "TemplateProcessing", "single": [first, text[0]], "pair": [first, *text],
            "special_tokens": {token: {"id": token, "ids": [bos], "tokens": [token]}}}


def tokenizer_files(meta):
    """{file name: JSON value}, empty (with a note) for a tokenizer that is not byte-level BPE: the weights convert all
    the same, and token ids can be given instead of text."""
    kind, pre = meta.get("tokenizer.ggml.model"), meta.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        print(f"convert_gguf.py: {meta.path}: no tokenizer written: expected byte-level BPE (gpt2 with one of "
              f"{', '.join(PRE_TOKENIZERS)}), found {kind} with {pre}", file=sys.stderr)
        return {}
    tokens, types = meta.require("tokenizer.ggml.tokens"), meta.require("tokenizer.ggml.token_type")
    added = added_tokens(tokens, types)
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre], "post_processor": post_processor(meta, tokens),
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": meta.require("tokenizer.ggml.merges"),
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": bool(meta.get("tokenizer.ggml.add_bos_token", False)),
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": meta.require("llama.context_length"),
        "added_tokens_decoder": {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added},
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token = meta.get(f"tokenizer.ggml.{key}_token_id")
        if token is not None:
            config[f"{name}_token"] = tokens[token]
    if meta.get("tokenizer.chat_template"):
        config["chat_template"] = meta.get("tokenizer.chat_template")
    return {"tokenizer.json": tokenizer, "tokenizer_config.json": config}


def convert(options):
    reader = open_gguf(options.model)
    meta = Metadata(options.model, reader)
    refuse_unsupported(meta)
    config = read_config(meta, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    files = {name: json_writer(value) for name, value in tokenizer_files(meta).items()}
    tensors = read_tensors(options.model, reader, config)
    files["model.safetensors"] = lambda path: save_file(tensors, path, metadata={"format": "pt"})
    files["config.json"] = json_writer(config)
    write_folder(options.output, files)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the model, e.g. SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write")
    options = parser.parse_args()
    run(lambda: convert(options))


if __name__ == "__main__":
    main()
