"""Does a better start last? A cut of the bundled model to 60% of its parameters, sliced, rotated, refitted and both, each followed by
distillation in plain PyTorch.

    .deps/venv/bin/python Benchmarks/distilled.py [--binary .build/release/coppice] [--steps 0 50 200 1000] [--out FILE.json]

Forward KL from the original on calibration text, 8 rows of 192 tokens a step, AdamW at 1e-3 with a cosine to a tenth and 20 steps of
warm-up, float32. After each number of steps the divergence and the loss on 64 held-out rows, by PyTorch.
"""

import argparse
import json
import math
import pathlib
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bundled import DATA, METHODS, MODEL, ROOT, Bench
from recover import SIZES

LENGTH, BATCH = 192, 8


def rows(path, count, tokenizer):
    """Texts one after another, cut into rows."""
    tokens = []
    for text in (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()):
        tokens += tokenizer(text["text"]).input_ids
        if len(tokens) >= count * LENGTH:
            break
    return torch.tensor(tokens[:len(tokens) // LENGTH * LENGTH][:count * LENGTH]).reshape(-1, LENGTH)


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")


def divergence(teacher, student):
    truth, guess = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    return (truth.exp() * (truth - guess)).sum(-1)


@torch.no_grad()
def measure(model, teacher, held):
    kl = loss = 0.0
    for part in held.split(8):
        logits = model(part).logits[:, :-1]
        kl += divergence(teacher(part).logits[:, :-1], logits).sum().item()
        loss += torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
    count = held.shape[0] * (LENGTH - 1)
    return {"kl": kl / count, "loss": loss / count}


def train(students, teacher, text, held, steps, seed):
    """All students see the same rows, so that the teacher is asked once."""
    order = torch.Generator().manual_seed(seed)
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.033)
                  for name, model in students.items()}
    last = max(steps)
    for step in range(last + 1):
        if step in steps:
            yield step, {name: measure(model.eval(), teacher, held) for name, model in students.items()}
        if step == last:
            return
        rate = min((step + 1) / 20, 0.1 + 0.45 * (1 + math.cos(math.pi * step / last)))
        part = text[torch.randint(len(text), (BATCH,), generator=order)]
        with torch.no_grad():
            truth = teacher(part).logits.log_softmax(-1)
        weight = truth.exp()
        for name, model in students.items():
            optimizer = optimizers[name]
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * rate
            guess = model(part).logits.log_softmax(-1)
            loss = (weight * (truth - guess)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--steps", nargs="+", type=int, default=[0, 50, 200, 1000])
    parser.add_argument("--methods", nargs="+", default=["channels", "rotated", "channels, refitted", "recover"])
    parser.add_argument("--out")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    text, held = rows(DATA / "calib.jsonl", 4096, tokenizer), rows(DATA / "heldout.jsonl", 64, tokenizer)
    teacher = load(MODEL).eval()
    students = {}
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options.binary, work)
        for method in options.methods:
            start = pathlib.Path(work) / method.replace(", ", "-")
            bench.prune(start, [*METHODS[method], "--prune_export_config", json.dumps(SIZES[1])], kept=method[:4])
            students[method] = load(start)
    lines = {method: {"method": method, "architecture": SIZES[1], "after": {}} for method in students}
    for step, found in train(students, teacher, text, held, options.steps, 0):
        for method, at in found.items():
            lines[method]["after"][step] = at
            print(f"{step:5} {method:18} kl {at['kl']:.3f} loss {at['loss']:.3f}", flush=True)
        if options.out:
            pathlib.Path(options.out).write_text(json.dumps(list(lines.values()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
