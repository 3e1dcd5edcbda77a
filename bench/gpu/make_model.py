"""Usage: make_model.py SHAPE FOLDER [--layers N] [--tokens N]. Writes a model of random bfloat16 weights as a Hugging Face folder, in
the shape of a real one: llama3-8b or qwen3-8b, or tiny-llama and tiny-qwen for rehearsals. Beside it prompt.json: --tokens ids.
Needs nothing but Python: weights repeat a table of a length that no row divides, so 16 GB take as long as writing them."""

import argparse
import array
import json
import os
import random
import struct

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rope_theta": 500000.0, "rms_norm_eps": 1e-5}
QWEN = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "rope_theta": 1000000.0, "rms_norm_eps": 1e-6}
NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
SHAPES = {
    "llama3-8b": (LLAMA, (4096, 14336, 32, 32, 8, 128, 128256)),
    "qwen3-8b": (QWEN, (4096, 12288, 36, 32, 8, 128, 151936)),
    "tiny-llama": (LLAMA, (256, 512, 2, 4, 1, 64, 1024)),
    "tiny-qwen": (QWEN, (256, 512, 2, 4, 2, 64, 1024)),
}
TABLE = 1048583  # a prime


def bfloat16(numbers):
    """Bytes of the numbers' upper halves, rounded to nearest"""
    bits = array.array("I", array.array("f", numbers).tobytes())
    return array.array("H", ((x + 0x7FFF + (x >> 16 & 1)) >> 16 for x in bits)).tobytes()


def tensors_of(config):
    """(name, shape) of every tensor, the norms' names ending in norm.weight or layernorm.weight"""
    hidden, inner, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
        for name, rows, columns in (("q", heads * dim, hidden), ("k", kv_heads * dim, hidden), ("v", kv_heads * dim, hidden),
                                    ("o", hidden, heads * dim)):
            yield f"{at}self_attn.{name}_proj.weight", (rows, columns)
        if config["model_type"] == "qwen3":
            yield at + "self_attn.q_norm.weight", (dim,)
            yield at + "self_attn.k_norm.weight", (dim,)
        for name, rows, columns in (("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)):
            yield f"{at}mlp.{name}_proj.weight", (rows, columns)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (config["vocab_size"], hidden)


def write_weights(path, config):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    tensors = list(tensors_of(config))
    for name, shape in tensors:
        size = 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = random.Random(0)
    table = memoryview(bfloat16(generator.gauss(0, 0.02) for _ in range(TABLE)) * 2)
    ones = bfloat16([1.0])
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            begin, end = header[name]["data_offsets"]
            if len(shape) == 1:
                file.write(ones * shape[0])
                continue
            at = 2 * generator.randrange(TABLE)
            for left in range(end - begin, 0, -2 * TABLE):
                file.write(table[at:at + min(left, 2 * TABLE)])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--tokens", type=int, default=1024)
    options = parser.parse_args()
    family, sizes = SHAPES[options.shape]
    config = {**family, **dict(zip(NAMES, sizes)), "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False,
              "torch_dtype": "bfloat16", "max_position_embeddings": 131072, "bos_token_id": 1, "eos_token_id": 2}
    config["num_hidden_layers"] = options.layers or config["num_hidden_layers"]
    os.makedirs(options.folder, exist_ok=True)
    write_weights(os.path.join(options.folder, "model.safetensors"), config)
    generator = random.Random(1)
    with open(os.path.join(options.folder, "prompt.json"), "w", encoding="utf-8") as file:
        json.dump([generator.randrange(3, config["vocab_size"]) for _ in range(options.tokens)], file)
    with open(os.path.join(options.folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


if __name__ == "__main__":
    main()
