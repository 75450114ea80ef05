"""What is lost by cutting channels and directions of a rotated basis, as they are and refitted, on the bundled model.

    python Benchmarks/recover.py [--binary .build/release/coppice] [--compute_dtype auto] [--out FILE.json]

For each architecture and kind of calibration text one line: loss per token and divergence from the original on 64 held-out
rows of 192 tokens, accuracy on 30% of the questions, and the seconds of the run.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL, DATA = ROOT / "Examples/model", ROOT / "Examples/data"
ARCHITECTURES = [
    {"hidden_size": 160},
    {"hidden_size": 128},
    {"num_layers": 6},
    {"hidden_size": 160, "ffn_hidden_size": 448},
    {"hidden_size": 144, "ffn_hidden_size": 384, "num_layers": 7},
    {"hidden_size": 128, "ffn_hidden_size": 384, "num_layers": 6},
]
METHODS = {
    "channels": [], "rotated": ["--basis", "rotated"], "channels, refitted": ["--refit", "sequential"], "recover": ["--recover"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--compute_dtype", default="auto")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    dtype = ["--compute_dtype", arguments.compute_dtype]

    def evaluate(model):
        result = subprocess.run(
            [arguments.binary, "eval", "--json", "--quiet", "--hf_model_name_or_path", model, "--reference_model", MODEL,
             "--eval_dataset_name", DATA / "heldout.jsonl", "--eval_num_samples", "64", "--seq_length", "192",
             "--mmlu_dataset", DATA / "mmlu", "--mmlu_percent", "30", *dtype],
            check=True, capture_output=True, text=True)
        found = json.loads(result.stdout)
        return {"loss": found["loss"]["mean"], "kl": found["kl"]["mean"], "accuracy": found["mmlu"]["accuracy"]}

    lines = []
    with tempfile.TemporaryDirectory() as work:
        for config in ARCHITECTURES:
            for text in ("calib", "chat"):
                for method, flags in METHODS.items():
                    if "rotated" in flags and "hidden_size" not in config:
                        continue
                    out = pathlib.Path(work) / "out"
                    subprocess.run(["rm", "-rf", out], check=True)
                    start = time.monotonic()
                    subprocess.run(
                        [arguments.binary, "prune", "--quiet", "--fresh", "--hf_model_name_or_path", MODEL,
                         "--output_hf_path", out, "--prune_intermediate_ckpt", f"{work}/{text}-{method}",
                         "--calib_dataset_name", DATA / f"{text}.jsonl", "--calib_num_samples", str(arguments.rows),
                         "--seq_length", "192", *flags, "--prune_export_config", json.dumps(config), *dtype],
                        check=True, stderr=subprocess.DEVNULL)
                    seconds = time.monotonic() - start
                    line = dict(architecture=config, text=text, method=method, seconds=round(seconds, 2), **evaluate(out))
                    lines.append(line)
                    name = ", ".join(f"{key} {value}" for key, value in config.items())
                    print(
                        f"{name:54} {text:6} {method:18} loss {line['loss']:.3f}  kl {line['kl']:.3f}  "
                        f"accuracy {line['accuracy']:.3f}  {seconds:.1f} s", flush=True)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
