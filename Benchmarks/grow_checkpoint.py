"""Writes a small trained Qwen3 checkpoint in a larger shape, where it still knows what it knew.

    python Benchmarks/grow_checkpoint.py Examples/model OUT --hidden 768 --layers 12 --ffn 2304 --heads 12 \
        --kv-heads 4 --head-dim 64 --vocab 152000 [--noise 0.05] [--seed 0]

For benchmarks in which candidates have to differ. Channels of the residual stream and of the MLP become several
copies whose effects are shared out among them, dimensions of heads move to where the larger head turns at their old
rate, what is left over does nothing, and neither do additional layers. Then every weight gets some noise, a fraction
of its tensor's standard deviation, so that no two copies are the same. Needs numpy alone.
"""

import argparse
import json
import math
import pathlib
import struct
import sys

import numpy as np
from make_checkpoint import bfloat16, size_options, tensors_of, write


class Source:
    """The small checkpoint: a single file in bfloat16."""

    def __init__(self, path):
        self.config = json.loads((path / "config.json").read_text())
        self.data = (path / "model.safetensors").read_bytes()
        size, = struct.unpack("<Q", self.data[:8])
        self.header, self.start = json.loads(self.data[8:8 + size]), 8 + size

    def __getitem__(self, name):
        entry = self.header[name]
        if entry["dtype"] != "BF16":
            sys.exit(f"{name} is {entry['dtype']}, not BF16")
        first, end = (self.start + offset for offset in entry["data_offsets"])
        bits = np.frombuffer(self.data[first:end], np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(entry["shape"])


def copies(large, small):
    """(which small channel each large one is, -1 for none; how many copies each has)."""
    times = large // small
    if times < 1:
        sys.exit(f"{small} channels do not grow to {large}")
    return np.concatenate([np.tile(np.arange(small), times), np.full(large - times * small, -1)]), times


def spread(values, places, axis):
    """Values along an axis put where `places` says, zeros elsewhere."""
    shape = [len(places) if at == axis else size for at, size in enumerate(values.shape)]
    result = np.zeros(shape, np.float32)
    chosen = [slice(None)] * len(shape)
    chosen[axis] = places >= 0
    result[tuple(chosen)] = np.take(values, places[places >= 0], axis=axis)
    return result


def grown(source, a):
    """Functions from a tensor's last name to its larger values, given the small ones."""
    c = source.config
    heads, kv_heads, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    if a.kv_heads != kv_heads or a.head_dim % dim or a.heads % kv_heads or a.heads < heads:
        sys.exit(f"{heads} heads of {dim} on {kv_heads} do not grow to {a.heads} of {a.head_dim} on {a.kv_heads}")
    hidden, times = copies(a.hidden, c["hidden_size"])
    ffn, ffn_times = copies(a.ffn, c["intermediate_size"])
    # The norm divides by the root mean square over all channels, also those that are zero.
    norm = math.sqrt(times * c["hidden_size"] / a.hidden)
    # A pair (i, i + dim / 2) turns at theta^(-2i / dim): in a head n times as large that is the pair n × i.
    turns = np.full(a.head_dim, -1)
    half = np.arange(dim // 2)
    turns[half * (a.head_dim // dim)] = half
    turns[a.head_dim // 2 + half * (a.head_dim // dim)] = dim // 2 + half
    # Query heads of a group stay together; new ones come last in it.
    group, old = a.heads // kv_heads, heads // kv_heads
    queries = np.concatenate([[g * old + at if at < old else -1 for at in range(group)] for g in range(kv_heads)])

    def channels(of_heads):
        return np.concatenate([np.where(turns >= 0, head * dim + turns, -1) if head >= 0 else np.full(a.head_dim, -1)
                               for head in of_heads])

    def read(w):
        return spread(w, hidden, 1) / times

    q, kv = channels(queries), channels(range(kv_heads))
    vocabulary = np.where(np.arange(a.vocab) < c["vocab_size"], np.arange(a.vocab), -1)
    smaller = math.sqrt(dim / a.head_dim)
    return {
        "embed_tokens": lambda w: spread(spread(w, hidden, 1), vocabulary, 0),
        "input_layernorm": lambda w: spread(w, hidden, 0) * norm,
        "post_attention_layernorm": lambda w: spread(w, hidden, 0) * norm,
        # The tied head adds the copies up once more.
        "norm": lambda w: spread(w, hidden, 0) * norm / times,
        "q_proj": lambda w: spread(read(w), q, 0), "k_proj": lambda w: spread(read(w), kv, 0),
        "v_proj": lambda w: spread(read(w), kv, 0),
        "o_proj": lambda w: spread(spread(w, hidden, 0), q, 1),
        # Norms of both sides grow by 1 / smaller, and the products are divided by a root that grew as much.
        "q_norm": lambda w: spread(w, turns, 0), "k_norm": lambda w: spread(w, turns, 0) * smaller,
        "gate_proj": lambda w: spread(read(w), ffn, 0), "up_proj": lambda w: spread(read(w), ffn, 0),
        "down_proj": lambda w: spread(spread(w, hidden, 0), ffn, 1) / ffn_times,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    size_options(parser)
    parser.add_argument("--noise", type=float, default=0.05)
    a = parser.parse_args()
    source, random = Source(a.source), np.random.default_rng(a.seed)
    layers, larger = source.config["num_hidden_layers"], grown(source, a)
    if a.layers < layers or not source.config["tie_word_embeddings"]:
        sys.exit(f"{layers} layers do not grow to {a.layers}, or the head is not tied")

    def pieces(name, shape):
        parts = name.split(".")
        new = parts[1] == "layers" and int(parts[2]) >= layers
        if new:
            parts[2] = "0"
        small = source[".".join(parts)]
        values = larger[parts[-2]](small)
        if new and parts[-2] in ("o_proj", "down_proj"):
            values = np.zeros_like(values)
        if len(shape) > 1:
            scale = a.noise * float(values[values != 0].std() if values.any() else small.std() / 8)
            values += scale * random.standard_normal(shape, dtype=np.float32)
        yield bfloat16(values)

    config = {**source.config, "hidden_size": a.hidden, "intermediate_size": a.ffn, "num_hidden_layers": a.layers,
              "num_attention_heads": a.heads, "head_dim": a.head_dim, "vocab_size": a.vocab,
              "max_window_layers": a.layers}
    size = write(a.out, tensors_of(a, tied=True), config, a.source, pieces)
    print(f"{a.out}: {size / 2 / 1e6:.1f} million parameters, {size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
