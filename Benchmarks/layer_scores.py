"""Which layers are dropped by each score of layers, and what that loses on held-out text, on the bundled model.

    python Benchmarks/layer_scores.py [--binary .build/release/coppice] [--compute_dtype float32 bfloat16] [--all] [--out FILE.json]

For each type, kind of calibration text and depth one line a score: the layers that are dropped, loss per token and divergence from the
original on 64 held-out rows of 192 tokens, accuracy on 30% of the questions, the seconds of the run. With --all every choice of
layers of that depth is evaluated (--drop_layers): the best and the median of them.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL, DATA = ROOT / "Examples/model", ROOT / "Examples/data"
LAYERS = 8
SCORES = {
    "cosine": ["--layer_score", "cosine"], "kl": ["--layer_score", "kl"],
    "kl, 16 rows": ["--layer_score", "kl", "--layer_score_rows", "16"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--compute_dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--depths", nargs="+", type=int, default=[6, 4])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()

    def prune(out, kept, dtype, flags):
        subprocess.run(["rm", "-rf", out], check=True)
        start = time.monotonic()
        subprocess.run(
            [options.binary, "prune", "--quiet", "--hf_model_name_or_path", MODEL, "--output_hf_path", out,
             "--prune_intermediate_ckpt", kept, "--compute_dtype", dtype, *flags], check=True)
        return time.monotonic() - start

    def evaluate(model, dtype, questions=True):
        asked = ["--mmlu_dataset", DATA / "mmlu", "--mmlu_percent", "30"] if questions else []
        result = subprocess.run(
            [options.binary, "eval", "--json", "--quiet", "--hf_model_name_or_path", model, "--reference_model", MODEL,
             "--eval_dataset_name", DATA / "heldout.jsonl", "--eval_num_samples", "64", "--seq_length", "192", *asked,
             "--compute_dtype", dtype], check=True, capture_output=True, text=True)
        found = json.loads(result.stdout)
        accuracy = {"accuracy": found["mmlu"]["accuracy"]} if questions else {}
        return {"loss": found["loss"]["mean"], "kl": found["kl"]["mean"], **accuracy}

    lines = []
    with tempfile.TemporaryDirectory() as work:
        out = pathlib.Path(work) / "out"
        for dtype, depth in itertools.product(options.compute_dtype, options.depths):
            for text, (score, flags) in itertools.product(("calib", "chat"), SCORES.items()):
                seconds = prune(
                    out, f"{work}/{dtype}-{text}-{score}", dtype,
                    ["--calib_dataset_name", DATA / f"{text}.jsonl", "--calib_num_samples", "256", "--seq_length", "192", *flags,
                     "--prune_export_config", json.dumps({"num_layers": depth})])
                kept = json.loads((out / "coppice.json").read_text())["kept_layers"]
                dropped = [layer for layer in range(1, LAYERS + 1) if layer not in kept]
                line = dict(
                    compute_dtype=dtype, num_layers=depth, text=text, score=score, dropped=dropped, seconds=round(seconds, 1),
                    **evaluate(out, dtype))
                lines.append(line)
                print(
                    f"{dtype:8} layers {depth}  {text:5} {score:12} drops {dropped}  loss {line['loss']:.3f}  kl {line['kl']:.3f}  "
                    f"accuracy {line['accuracy']:.3f}  {seconds:.1f} s", flush=True)
            if not options.all or dtype != options.compute_dtype[0]:
                continue
            found = []
            for dropped in itertools.combinations(range(1, LAYERS + 1), LAYERS - depth):
                prune(out, f"{work}/none", dtype, ["--drop_layers", ",".join(map(str, dropped))])
                found.append((evaluate(out, dtype, questions=False)["kl"], dropped))
            best, median = min(found), statistics.median(kl for kl, _ in found)
            lines.append(dict(compute_dtype=dtype, num_layers=depth, choices=len(found), best=best, median=median))
            print(
                f"{dtype:8} layers {depth}  of {len(found)} choices the best has kl {best[0]:.3f}, by dropping {list(best[1])}; "
                f"the median {median:.3f}", flush=True)
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
