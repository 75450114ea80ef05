"""Published training-free methods on the bundled model, made here from their papers in plain PyTorch, for comparison.

    .deps/venv/bin/python Benchmarks/published.py [--binary .build/release/coppice] [--out FILE.json]

- SliceGPT (Ashkboos et al. 2024, arXiv 2401.15024): a basis of its own before every block, found one after another on what the cut
  model computes, with a matrix in every shortcut between them. Such a model is no stock checkpoint and has more parameters; here it
  is computed as projections of the stream in float64, the head untied.
- FLAP (An et al. 2024, arXiv 2312.11983), of channels of the MLP: those with the largest fluctuation of their activations times the norm
  of their outputs are kept, and a bias makes up for the mean of the others. The biases are no part of a stock Qwen3.
- Wanda's score by structure (Sun et al. 2024, arXiv 2306.11695), of the same channels: norm of activations times weights.

Beside them what `coppice prune` gives at the same sizes. Divergence and loss on 64 held-out rows of 192 tokens, calibrated on 256.
"""

import argparse
import json
import pathlib
import tempfile

import torch
from transformers import AutoTokenizer

from bundled import DATA, METHODS, MODEL, ROOT, Bench
from distilled import load, measure, rows


class Stream:
    """The model's layers as functions of the residual stream, in float64."""

    def __init__(self, model):
        self.model, self.body = model.double().eval(), model.model

    def embed(self, tokens):
        return self.body.embed_tokens(tokens)

    def branches(self):
        for layer in self.body.layers:
            yield layer.input_layernorm, lambda x, layer=layer: layer.self_attn(
                x, position_embeddings=self.body.rotary_emb(x, torch.arange(x.shape[1])[None]), attention_mask=None)[0]
            yield layer.post_attention_layernorm, layer.mlp

    def logits(self, h):
        return self.model.lm_head(self.body.norm(h))


def basis(states, kept):
    """The directions that hold most of the normalised stream: a projector, and what a norm over them alone has to be multiplied by."""
    flat = torch.cat([s.reshape(-1, s.shape[-1]) for s in states])
    size = flat.pow(2).mean(-1, keepdim=True).sqrt()
    unit = flat / size
    directions = torch.linalg.eigh(unit.T @ unit)[1][:, -kept:]
    projector = directions @ directions.T
    return projector, (unit @ projector).pow(2).mean(-1).sqrt().mean()


@torch.no_grad()
def slicegpt(stream, text, held, kept, teacher):
    """Of the held-out rows the divergence and the loss with a basis of its own before each block."""
    def walk(parts, h, steps):
        for (norm, block), (projector, scale) in zip(parts, steps):
            h = h @ projector
            h = h + block(norm(h) * scale)
        return h
    parts = list(stream.branches())
    states = [stream.embed(part) for part in text.split(32)]
    steps = []
    for norm, block in parts:
        projector, scale = basis(states, kept)
        steps.append((projector, scale))
        states = [(lambda h: h + block(norm(h) * scale))(h @ projector) for h in states]
    projector, scale = basis(states, kept)
    kl = loss = 0.0
    for part in held.split(8):
        h = walk(parts, stream.embed(part), steps) @ projector
        guess = (stream.model.lm_head(stream.body.norm(h) * scale))[:, :-1].log_softmax(-1)
        truth = teacher(part).logits[:, :-1].double().log_softmax(-1)
        kl += (truth.exp() * (truth - guess)).sum().item()
        loss -= guess.gather(-1, part[:, 1:, None]).sum().item()
    count = held.shape[0] * (held.shape[1] - 1)
    return {"kl": kl / count, "loss": loss / count}


@torch.no_grad()
def channels(model, text, kept, score, compensates):
    """Cuts the channels of every MLP in place."""
    for layer in model.model.layers:
        seen = []
        down = layer.mlp.down_proj
        handle = down.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].flatten(0, 1)))
        for part in text.split(32):
            model(part)
        handle.remove()
        x = torch.cat(seen)
        best = score(x, down.weight).argsort(descending=True)
        gone = best[kept:]
        if compensates:
            down.bias = torch.nn.Parameter(down.weight[:, gone] @ x[:, gone].mean(0))
        down.weight[:, gone] = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--out")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    text, held = rows(DATA / "calib.jsonl", 256, tokenizer), rows(DATA / "heldout.jsonl", 64, tokenizer)
    teacher, lines = load(MODEL).eval(), []

    def add(cut, method, found):
        lines.append({"cut": cut, "method": method, **found})
        print(f"{json.dumps(cut):28} {method:32} kl {found['kl']:.3f}  loss {found['loss']:.3f}", flush=True)

    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options.binary, work)

        def cut_by_coppice(cut, method):
            out = pathlib.Path(work) / "cut"
            bench.prune(out, [*METHODS[method], "--prune_export_config", json.dumps(cut)], kept=method[:4])
            return measure(load(out), teacher, held)

        for cut in ({"hidden_size": 160}, {"hidden_size": 128}):
            add(cut, "SliceGPT, a basis a block", slicegpt(Stream(load(MODEL)), text, held, cut["hidden_size"], teacher))
            for method in METHODS:
                add(cut, method, cut_by_coppice(cut, method))
        for cut in ({"ffn_hidden_size": 384}, {"ffn_hidden_size": 256}):
            scores = {
                "Wanda's score": (lambda x, w: x.norm(dim=0) * w.abs().sum(0), False),
                "FLAP, with biases": (lambda x, w: x.var(0) * w.pow(2).sum(0), True),
            }
            for method, (score, compensates) in scores.items():
                model = load(MODEL).eval()
                channels(model, text, cut["ffn_hidden_size"], score, compensates)
                add(cut, method, measure(model, teacher, held))
            for method in ("channels", "channels, local", "channels, refitted"):
                add(cut, method, cut_by_coppice(cut, method))
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
