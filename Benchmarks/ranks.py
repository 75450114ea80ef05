"""How calibration gets faster by processes: one with one thread, two replicas and two stages of one thread each, and what
`plan --nproc 2` expects of them.

    python Benchmarks/ranks.py [--rounds 5] [--rows 128] [--work DIR]

A random Qwen3 of 107 million parameters, rows of 512 tokens, 16 batches and more for each replica. Alternating rounds, medians. The
figure is the tokens a second of the walk itself, as the run says it.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
WAYS = {"one process": [], "two replicas": ["--nproc", "2"], "two stages": ["--pp_size", "2"]}
UNITS = {"": 1, "K": 1e3, "M": 1e6}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--work", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or pathlib.Path(folder)
        model, data = work / "model-107m", work / "text.jsonl"
        if not model.exists():
            subprocess.run(
                [sys.executable, ROOT / "Benchmarks/make_checkpoint.py", model, "--tied", "--tokenizer", ROOT / "Examples/model"],
                check=True)
        lines = (ROOT / "Examples/data/calib.jsonl").read_text().splitlines()
        data.write_text("\n".join(lines * (arguments.rows * 512 // 50_000 + 2)) + "\n")
        common = [
            "--hf_model_name_or_path", model, "--prune_export_config", '{"hidden_size": 512}', "--calib_dataset_name", data,
            "--calib_num_samples", str(arguments.rows), "--seq_length", "512"]
        variables = dict(os.environ) | {"OMP_NUM_THREADS": "1", "COPPICE_CACHE": str(work / "cache")}
        program = ROOT / ".build/release/coppice"
        speeds = {way: [] for way in WAYS}
        for number in range(arguments.rounds):
            for way, flags in WAYS.items():
                done = subprocess.run(
                    [program, "prune", *common, "--fresh", "--output_hf_path", pathlib.Path(folder) / f"out-{number}-{way.replace(' ', '-')}", *flags],
                    env=variables, capture_output=True, text=True)
                found = re.search(r"calibration: .*\((?:[^()]*?)([0-9.]+)([KM]?) tokens/s\)", done.stderr)
                assert found, done.stderr[-1000:]
                speeds[way].append(float(found[1]) * UNITS[found[2]])
                print(f"{way}: {speeds[way][-1]:.0f} tokens/s", flush=True)
        medians = {way: statistics.median(values) for way, values in speeds.items()}
        report = {"tokens_per_second": medians, "all": speeds, "ratios": {}, "plan": {}}
        for way, flags in WAYS.items():
            if not flags:
                continue
            report["ratios"][way] = medians[way] / medians["one process"]
            plan = subprocess.run([program, "plan", "--json", *common, *flags], env=variables, capture_output=True, text=True, check=True)
            expected = json.loads(plan.stdout)["processes"]["calibration_seconds"]
            report["plan"][way] = {"expected": expected, "measured": arguments.rows * 512 / medians[way]}
            report["plan"][way]["expected_by_measured"] = expected / report["plan"][way]["measured"]
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
