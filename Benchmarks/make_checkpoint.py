"""Writes a random Qwen3-style checkpoint of any size, streaming, with a tokenizer copied from another.

    python Benchmarks/make_checkpoint.py OUT --hidden 768 --layers 12 --ffn 2304 --heads 12 --kv-heads 4 --head-dim 64 \
        --vocab 32000 --tied [--tokenizer Examples/model] [--seed 0]

Weights are normal with a standard deviation of 0.02 (norms around one) in bfloat16. Needs numpy alone.
"""

import argparse
import json
import pathlib
import shutil
import struct

import numpy as np

SIZES = {"hidden": 768, "layers": 12, "ffn": 2304, "heads": 12, "kv-heads": 4, "head-dim": 64, "vocab": 32000}


def bfloat16(values):
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def size_options(parser):
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seed", type=int, default=0)


def tensors_of(a, tied):
    """(name, shape) of every tensor, in the order of the file."""
    tensors = [("model.embed_tokens.weight", (a.vocab, a.hidden))]
    for layer in range(a.layers):
        p = f"model.layers.{layer}."
        tensors += [
            (p + "input_layernorm.weight", (a.hidden,)),
            (p + "self_attn.q_proj.weight", (a.heads * a.head_dim, a.hidden)),
            (p + "self_attn.k_proj.weight", (a.kv_heads * a.head_dim, a.hidden)),
            (p + "self_attn.v_proj.weight", (a.kv_heads * a.head_dim, a.hidden)),
            (p + "self_attn.o_proj.weight", (a.hidden, a.heads * a.head_dim)),
            (p + "self_attn.q_norm.weight", (a.head_dim,)),
            (p + "self_attn.k_norm.weight", (a.head_dim,)),
            (p + "post_attention_layernorm.weight", (a.hidden,)),
            (p + "mlp.gate_proj.weight", (a.ffn, a.hidden)),
            (p + "mlp.up_proj.weight", (a.ffn, a.hidden)),
            (p + "mlp.down_proj.weight", (a.hidden, a.ffn)),
        ]
    tensors.append(("model.norm.weight", (a.hidden,)))
    if not tied:
        tensors.append(("lm_head.weight", (a.vocab, a.hidden)))
    return tensors


def config_of(a, tied):
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": a.hidden,
        "intermediate_size": a.ffn, "num_hidden_layers": a.layers, "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads, "head_dim": a.head_dim, "vocab_size": a.vocab, "hidden_act": "silu",
        "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "attention_bias": False,
        "tie_word_embeddings": tied, "torch_dtype": "bfloat16",
    }


def write(out, tensors, config, tokenizer, pieces):
    """Writes the directory. `pieces(name, shape)` yields a tensor's values as uint16, in order; returns its bytes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2))
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
        shutil.copy(tokenizer / file, out / file)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            for piece in pieces(name, shape):
                file.write(piece.tobytes())
    return offset


def random_pieces(seed):
    random = np.random.default_rng(seed)
    # One pool of random numbers, entered at a different place each time: sixteen gigabytes take a minute, not ten.
    pool = bfloat16(random.standard_normal(1 << 24, dtype=np.float32) * 0.02)

    def pieces(name, shape):
        count = int(np.prod(shape))
        if len(shape) == 1:
            yield bfloat16(1 + 0.1 * random.standard_normal(count, dtype=np.float32))
            return
        while count:
            start = int(random.integers(0, len(pool) // 2))
            piece = pool[start:start + min(count, len(pool) // 2)]
            yield piece
            count -= len(piece)

    return pieces


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    size_options(parser)
    parser.add_argument("--tied", action="store_true")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=pathlib.Path("Examples/model"))
    a = parser.parse_args()
    size = write(a.out, tensors_of(a, a.tied), config_of(a, a.tied), a.tokenizer, random_pieces(a.seed))
    print(f"{a.out}: {size / 2 / 1e6:.1f} million parameters, {size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
