"""Usage: plain_prefill.py CONFIG.json TOKENS DEVICE. Times a prefill of the shape in plain PyTorch, which records nothing: one layer of
random weights as often as there are layers, attention by scaled_dot_product_attention (flash attention on GPUs). What a prefill that
records is measured against."""

import json
import sys
import time

import torch
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu


def layer_of(config, kind):
    hidden, inner, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    shapes = {"qkv": ((heads + 2 * kv_heads) * dim, hidden), "o": (hidden, heads * dim), "up": (2 * inner, hidden), "down": (hidden, inner)}
    weights = {name: torch.randn(shape, **kind) * 0.02 for name, shape in shapes.items()}

    def layer(x, cos, sin):
        def rotated(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat((-b, a), -1) * sin

        qkv = (rms_norm(x, (hidden,)) @ weights["qkv"].T).view(1, -1, heads + 2 * kv_heads, dim).transpose(1, 2)
        q, k, v = qkv.split((heads, kv_heads, kv_heads), 1)
        z = scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True, enable_gqa=True)
        x = x + z.transpose(1, 2).reshape(1, -1, heads * dim) @ weights["o"].T
        gate, up = (rms_norm(x, (hidden,)) @ weights["up"].T).chunk(2, -1)
        return x + (silu(gate) * up) @ weights["down"].T

    return layer


@torch.inference_mode()
def main(path, tokens, device):
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    kind = {"device": device, "dtype": torch.bfloat16}
    torch.manual_seed(0)
    layer = layer_of(config, kind)
    x = torch.randn((1, tokens, config["hidden_size"]), **kind)
    frequencies = config["rope_theta"] ** -(torch.arange(0, config["head_dim"], 2, device=device) / config["head_dim"])
    angles = torch.arange(tokens, device=device)[:, None] * torch.cat((frequencies, frequencies))
    cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    layer(x, cos, sin)
    wait()
    begin = time.perf_counter()
    y = x
    for _ in range(config["num_hidden_layers"]):
        y = layer(y, cos, sin)
    wait()
    print(f"RESULT {time.perf_counter() - begin:.3f} s for {tokens} tokens, {config['num_hidden_layers']} layers, on {device}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
