"""Pruning the bundled model and measuring what is left, for the programs beside this one."""

import json
import pathlib
import random
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL, DATA = ROOT / "Examples/model", ROOT / "Examples/data"
METHODS = {
    "channels": [],
    "rotated": ["--basis", "rotated"],
    "channels, local": ["--refit", "local"],
    "rotated, local": ["--basis", "rotated", "--refit", "local"],
    "channels, refitted": ["--refit", "sequential"],
    "recover": ["--recover"],
}


def params(config):
    """Of an architecture of the bundled model: its head is the embedding."""
    hidden, ffn, layers = (
        config.get(name, whole) for name, whole in (("hidden_size", 192), ("ffn_hidden_size", 512), ("num_layers", 8)))
    heads, groups, dim = config.get("num_attention_heads", 8), 4, 32
    layer = hidden * dim * (2 * heads + 2 * groups) + 3 * hidden * ffn + 2 * hidden + 2 * dim
    return 2048 * hidden + layers * layer + hidden


class Bench:
    def __init__(self, binary, work, dtype="auto", rows=256):
        self.binary, self.work, self.rows = binary, pathlib.Path(work), rows
        self.dtype = ["--compute_dtype", dtype]
        self.name = dtype

    def text(self, kind, seed):
        """Calibration text in another order for each seed, so that other rows are packed."""
        if seed == 0:
            return DATA / f"{kind}.jsonl"
        path = self.work / f"{kind}-{seed}.jsonl"
        if not path.exists():
            lines = (DATA / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
            random.Random(seed).shuffle(lines)
            path.write_text("".join(lines), encoding="utf-8")
        return path

    def prune(self, out, flags, kind="calib", seed=0, kept=None):
        """Seconds, and what `--json` prints."""
        subprocess.run(["rm", "-rf", out], check=True)
        kept = self.work / f"kept-{self.name}-{kind}-{seed}-{kept or 'one'}"
        start = time.monotonic()
        result = subprocess.run(
            [self.binary, "prune", "--quiet", "--json", "--hf_model_name_or_path", MODEL, "--output_hf_path", out,
             "--prune_intermediate_ckpt", kept, "--calib_dataset_name", self.text(kind, seed), "--calib_num_samples",
             str(self.rows), "--seq_length", "192", *self.dtype, *flags],
            check=True, capture_output=True, text=True)
        return time.monotonic() - start, json.loads(result.stdout)

    def cut(self, config, method, kind="calib", seed=0):
        """What is left of an architecture by hand: loss, KL and accuracy."""
        out = self.work / f"out-{self.name}"
        flags = METHODS[method]
        rotated = "--recover" in flags or "rotated" in flags
        if rotated and config.get("hidden_size", 192) == 192:
            flags = ["--refit", "sequential"] if "--recover" in flags else [f for f in flags if f not in ("--basis", "rotated")]
            rotated = False
        seconds, _ = self.prune(
            out, [*flags, "--prune_export_config", json.dumps(config)], kind, seed,
            f"{'rotated' if rotated else 'channels'}")
        return dict(
            architecture=config, params=params(config), text=kind, seed=seed, method=method, dtype=self.name,
            seconds=round(seconds, 1), **self.evaluate(out))

    def evaluate(self, model, accuracy=True):
        """On 64 held-out rows of 192 tokens, and 30% of the questions."""
        questions = ["--mmlu_dataset", DATA / "mmlu", "--mmlu_percent", "30"] if accuracy else []
        result = subprocess.run(
            [self.binary, "eval", "--json", "--quiet", "--hf_model_name_or_path", model, "--reference_model", MODEL,
             "--eval_dataset_name", DATA / "heldout.jsonl", "--eval_num_samples", "64", "--seq_length", "192", *questions,
             *self.dtype],
            check=True, capture_output=True, text=True)
        found = json.loads(result.stdout)
        scores = {"loss": found["loss"]["mean"], "kl": found["kl"]["mean"]}
        return {**scores, "accuracy": found["mmlu"]["accuracy"]} if accuracy else scores


def line(found):
    name = ", ".join(f"{key} {value}" for key, value in found["architecture"].items())
    accuracy = f"  accuracy {found['accuracy']:.3f}" if "accuracy" in found else ""
    return (
        f"{name:54} {found['text']:5} {found['seed']} {found['dtype']:8} {found['method']:18} loss {found['loss']:.3f}  "
        f"kl {found['kl']:.3f}{accuracy}  {found['seconds']:.1f} s")
