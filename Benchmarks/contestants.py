"""The two sides of the benchmarks: `coppice prune` and PyTorch + transformers, on the same checkpoints and text."""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

import measure
from measure import ROOT

COPPICE = ROOT / ".build/release/coppice"
FIXTURE = ROOT / "Examples/model"
TEXT = ROOT / "Examples/data/calib.jsonl"
MMLU = ROOT / "Examples/data/mmlu"

# Qwen3-style shapes; `seq` and `rows` are what they are calibrated on.
SHAPES = {
    "107M": dict(hidden=768, layers=12, ffn=2304, heads=12, kv_heads=4, head_dim=64, vocab=32000, tied=True,
                 seq=512, rows=32),
    "1.2B": dict(hidden=2048, layers=24, ffn=5632, heads=16, kv_heads=8, head_dim=128, vocab=32000, tied=False,
                 seq=1024, rows=8),
}
# The types PyTorch may compute in. Which is quicker depends on the processor.
TYPES = ("float32", "bfloat16")
TINY = dict(hidden=128, layers=4, ffn=256, heads=4, kv_heads=2, head_dim=32, vocab=4096, tied=True, seq=64, rows=4)


def checkpoint(path, shape):
    """Writes a random checkpoint of a shape, unless it is there."""
    if not pathlib.Path(path).exists():
        sizes = [word for name in ("hidden", "layers", "ffn", "heads", "kv_heads", "head_dim", "vocab")
                 for word in ("--" + name.replace("_", "-"), str(shape[name]))]
        subprocess.run(
            [sys.executable, ROOT / "Benchmarks/make_checkpoint.py", path, "--tokenizer", FIXTURE, *sizes,
             *(["--tied"] if shape["tied"] else [])], check=True, stdout=subprocess.DEVNULL)
    return path


def own_type():
    """The type in which `coppice` computes bfloat16 checkpoints on this machine."""
    # It ends with 1 where something is missing that has no bearing here.
    found = json.loads(subprocess.run([COPPICE, "doctor", "--json"], capture_output=True, text=True).stdout)
    return "bfloat16" if found["bfloat16_products"] else "float32"


def worthwhile(trial):
    """PyTorch's types that may be the quicker one here: those within half as much again of the better in a short trial.

    `trial` takes a type and gives a speed. Returns what goes on record.
    """
    speeds = {dtype: trial(dtype) for dtype in TYPES}
    measured = [dtype for dtype in TYPES if speeds[dtype] > max(speeds.values()) / 1.5]
    measure.say("  PyTorch's types: " + ", ".join(f"{dtype} {speed:,.4g}" for dtype, speed in speeds.items()))
    return {"trial": speeds, "measured": measured}


def better(found, side, figure, best):
    """The type in which PyTorch's median is the better one: of the sides `{side}_{type}`, by `best` (min or max)."""
    medians = {dtype: statistics.median(measure.column(found[f"{side}_{dtype}"], figure))
               for dtype in TYPES if f"{side}_{dtype}" in found}
    return best(medians, key=medians.get)


def layer_weights(shape):
    """Weights of one layer's projections."""
    inner, keys = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    return shape["hidden"] * (2 * inner + 2 * keys) + 3 * shape["hidden"] * shape["ffn"]


def operations(shape):
    """Useful operations of one token in all layers: two a weight, and causal attention over half the row."""
    inner = shape["heads"] * shape["head_dim"]
    return shape["layers"] * (2 * layer_weights(shape) + 2 * inner * (shape["seq"] + 1))


def products(shape, tokens=None):
    """The matrix products of a layer, as `measure.ceiling` wants them."""
    tokens, hidden, ffn = tokens or shape["seq"], shape["hidden"], shape["ffn"]
    inner = shape["heads"] * shape["head_dim"]
    return [(tokens, hidden, ffn), (tokens, ffn, hidden), (tokens, hidden, inner), (tokens, inner, hidden)]


def long_text(path, rows, seq):
    """Writes calibration text that fills `rows` rows of `seq` tokens.

    Sixteen documents are read for a row at most, and those of the examples have fifty tokens each: sixty of them,
    beginning at another place each time, make one of 2,000 tokens or more.
    """
    texts = [json.loads(line)["text"] for line in TEXT.read_text().splitlines()]
    with open(path, "w") as file:
        for number in range(rows * seq // 2000 + 2):
            start = 37 * number
            text = "\n".join(texts[(start + at) % len(texts)] for at in range(60))
            file.write(json.dumps({"text": text}) + "\n")
    return path


def prune(model, work, text, rows, seq, config, wrap=lambda command: command, options=()):
    """`coppice prune` by hand, from scratch: wall and calibration seconds, tokens per second, peak memory.

    `wrap` may put something around the command. Ends the benchmark when the rows were not full: every figure per token
    would be wrong.
    """
    for folder in ("pruned", "scores"):
        shutil.rmtree(f"{work}/{folder}", ignore_errors=True)
    found = measure.run(wrap([
        COPPICE, "prune", "--hf_model_name_or_path", model, "--output_hf_path", f"{work}/pruned",
        "--prune_intermediate_ckpt", f"{work}/scores", "--prune_export_config", json.dumps(config),
        "--calib_dataset_name", text, "--calib_num_samples", rows, "--seq_length", seq, *options]))
    said = re.search(r"calibrating on ([\d,]+) rows?, ([\d,]+) tokens, in (\w+)", found.stderr)
    tokens = int(said[2].replace(",", "")) if said else 0
    if tokens != rows * seq:
        sys.exit(f"{model}: calibrated on {tokens} tokens, not {rows} rows of {seq}:\n{found.stderr}")
    seconds = step_seconds(found.stderr, "calibration")
    return {"wall": found.wall, "seconds": seconds, "tokens_per_second": tokens / seconds, "peak_mib": found.peak_mib,
            "others": found.others, "dtype": said[3]}


def pytorch(model, text, rows, seq, dtype, *options):
    """The same with PyTorch + transformers in a type: figures as `prune` has them."""
    found = measure.run([
        sys.executable, ROOT / "Benchmarks/torch_calibrate.py", model, text, "--rows", rows, "--seq-length", seq,
        "--dtype", dtype, *options])
    said = json.loads(found.stdout.splitlines()[-1])
    return {"wall": found.wall, "seconds": said["calibrate"], "tokens_per_second": said["tokens_per_second"],
            "peak_mib": found.peak_mib, "others": found.others, "dtype": dtype}


def scoring_seconds(stderr, count):
    """Seconds of scoring from the line it leaves: `scored 10 candidates in 3m 11s`; of a race the line has numbers of questions, too."""
    lines = re.findall(
        rf"^scored {count} candidates?(?: on [\d,]+ of [\d,]+ \S+)? in ((?:[\d.]+ ?(?:ms|[dhms])\b ?)+)", stderr, re.MULTILINE)
    if not lines:
        sys.exit(f"not {count} candidates were scored:\n{stderr}")
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3}
    return sum(float(number) * units[name] for number, name in re.findall(r"([\d.]+) ?(ms|[dhms])", lines[-1]))


def step_seconds(stderr, label):
    """Seconds of a step from the line it leaves: `calibration: 8,192 tokens in 1.83s (4.47K tokens/s)`.

    The time or the rate, whichever has more digits.
    """
    lines = re.findall(
        rf"^{label}[^:\n]*: ([\d,]+) \S+ in ((?:[\d.]+ ?(?:ms|[dhms])\b ?)+)(?:\(([\d.]+)([KMBT]?) \S+/s\))?",
        stderr, re.MULTILINE)
    if not lines:
        sys.exit(f"there is no line of the step \"{label}\" in:\n{stderr}")
    done, time, rate, unit = lines[-1]
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3}
    parts = re.findall(r"([\d.]+) ?(ms|[dhms])", time)
    seconds = sum(float(number) * units[name] for number, name in parts)
    if rate and float(rate) > 0:
        coarse = last_place(parts[-1][0]) * units[parts[-1][1]] / max(seconds, 1e-9)
        if last_place(rate) / float(rate) < coarse:
            return int(done.replace(",", "")) / (float(rate) * 1000 ** ("KMBT".index(unit) + 1 if unit else 0))
    if seconds <= 0:
        sys.exit(f"the step \"{label}\" was too short to be timed:\n{stderr}")
    return seconds


def last_place(number):
    """What the last digit of a number counts: 0.1 of 4.5."""
    return 10.0 ** -len(number.partition(".")[2])
