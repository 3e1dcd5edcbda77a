#!/usr/bin/env python3
"""Converts a model in llama2.c's format (karpathy/llama2.c, the version-0 .bin) to a Hugging Face folder.
Writes config.json, model.safetensors (float32) and, as tokenizer.bin, llama2.c's tokenizer unchanged. Needs numpy only."""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
from hf_folder import ConversionError, bytes_writer, json_writer, llama_config, run, unpermute_rope_rows, write_folder

HEADER = struct.Struct("<7i")  # dim, hidden_dim, layers, heads, kv_heads, vocab (negative: untied head), seq_len
AK42 = 0x616B3432  # first word of llama2.c's versions 1 and 2


def read_header(path, data):
    """Sizes by Hugging Face's names, plus tie_word_embeddings."""
    if len(data) < HEADER.size:
        raise ConversionError(f"{path}: expected a llama2.c header of {HEADER.size} bytes, found {len(data)} bytes")
    dim, hidden, layers, heads, kv_heads, vocab, seq_len = HEADER.unpack_from(data)
    if dim == AK42:
        raise ConversionError(f"{path}: a llama2.c file of version 1 or 2; expected version 0 (export.py --version 0)")
    sizes = (dim, hidden, layers, heads, kv_heads, abs(vocab), seq_len)
    if min(sizes) < 1 or max(sizes) > 1 << 24 or dim % heads or heads % kv_heads or dim // heads % 2:
        raise ConversionError(f"{path}: not a llama2.c model: its header reads {sizes}")
    return {
        "hidden_size": dim,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": dim // heads,
        "vocab_size": abs(vocab),
        "max_position_embeddings": seq_len,
        "tie_word_embeddings": vocab > 0,
    }


def sections(sizes):
    """(name, shape) of everything after the header, in the file's order; the name of the unused RoPE tables is None."""
    dim, hidden, layers = sizes["hidden_size"], sizes["intermediate_size"], sizes["num_hidden_layers"]
    kv_dim = sizes["num_key_value_heads"] * sizes["head_dim"]
    yield "model.embed_tokens.weight", (sizes["vocab_size"], dim)
    yield "input_layernorm", (layers, dim)
    yield "self_attn.q_proj", (layers, dim, dim)
    yield "self_attn.k_proj", (layers, kv_dim, dim)
    yield "self_attn.v_proj", (layers, kv_dim, dim)
    yield "self_attn.o_proj", (layers, dim, dim)
    yield "post_attention_layernorm", (layers, dim)
    yield "mlp.gate_proj", (layers, hidden, dim)
    yield "mlp.down_proj", (layers, dim, hidden)
    yield "mlp.up_proj", (layers, hidden, dim)
    yield "model.norm.weight", (dim,)
    yield None, (2, sizes["max_position_embeddings"], sizes["head_dim"] // 2)
    if not sizes["tie_word_embeddings"]:
        yield "lm_head.weight", (sizes["vocab_size"], dim)


def read_tensors(path, data, sizes):
    """{Hugging Face name: float32 array}"""
    expected = HEADER.size + 4 * sum(int(np.prod(shape)) for _, shape in sections(sizes))
    if len(data) != expected:
        raise ConversionError(f"{path}: expected {expected} bytes for the sizes in its header, found {len(data)}")
    tensors, offset = {}, HEADER.size
    for name, shape in sections(sizes):
        values = np.frombuffer(data, "<f4", int(np.prod(shape)), offset).reshape(shape)
        offset += values.nbytes
        if name is None:
            continue
        if name.endswith(".weight"):
            tensors[name] = values
            continue
        for layer, weight in enumerate(values):
            tensors[f"model.layers.{layer}.{name}.weight"] = weight
    for layer in range(sizes["num_hidden_layers"]):
        for name, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
            key = f"model.layers.{layer}.self_attn.{name}.weight"
            tensors[key] = unpermute_rope_rows(tensors[key], sizes[heads])
    return tensors


def safetensors_bytes(tensors):
    """The safetensors format: length of the header (u64), JSON header padded to 8 bytes, the tensors back to back."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values())


def check_tokenizer(path, data, vocab_size):
    """llama2.c's tokenizer: the longest token's length, then per token a float32 score, a length and its bytes."""
    offset = 4
    for token in range(vocab_size):
        if offset + 8 > len(data):
            raise ConversionError(f"{path}: expected {vocab_size} tokens, found {token}")
        length = struct.unpack_from("<i", data, offset + 4)[0]
        if length < 0:
            raise ConversionError(f"{path}: not a llama2.c tokenizer: token {token} has length {length}")
        offset += 8 + length
    if offset != len(data):
        raise ConversionError(f"{path}: expected {offset} bytes for {vocab_size} tokens, found {len(data)}")


def convert(options):
    data = options.model.read_bytes()
    sizes = read_header(options.model, data)
    tensors = read_tensors(options.model, data, sizes)
    tokenizer = options.tokenizer.read_bytes()
    check_tokenizer(options.tokenizer, tokenizer, sizes["vocab_size"])
    # llama2.c fixes these in its source (run.c): RMSNorm's epsilon, RoPE's base, BOS 1 and EOS 2
    config = llama_config(**sizes, rms_norm_eps=1e-5, rope_theta=10000.0, bos_token_id=1, eos_token_id=2)
    write_folder(options.output, {
        "config.json": json_writer(config),
        "model.safetensors": bytes_writer(safetensors_bytes(tensors)),
        "tokenizer.bin": bytes_writer(tokenizer),
    })


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the model, e.g. stories260K.bin")
    parser.add_argument("tokenizer", type=Path, help="its tokenizer, e.g. tok512.bin")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write")
    options = parser.parse_args()
    run(lambda: convert(options))


if __name__ == "__main__":
    main()
