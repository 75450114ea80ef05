"""Builds the example that calls the library (Examples/embedding), runs it, and compares what it says and writes with what
the command line makes of the same request.

    embedding.py --binary .build/release/coppice
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "Examples"
# Kept in the clone: what follows the first build takes seconds.
SCRATCH = ROOT / ".build-embedding"

# What the example's main.swift asks for.
FLAGS = """--prune_target_params 3200000 --ss_channel_divisor 32 --max_depth_pruning 0.5 --seq_length 192 --top_k 3
--calib_num_samples 32 --prune_score_func mmlu_5pct_bs1 --json --quiet""".split()


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    binary = parser.parse_args().binary.resolve()

    start = time.monotonic()
    package = ["swift", "build", "--package-path", str(EXAMPLES / "embedding"), "--scratch-path", str(SCRATCH)]
    run(package)
    print(f"built in {time.monotonic() - start:.0f} s")

    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        kept = {"COPPICE_CACHE": str(scratch / "cache"), "PATH": "/usr/bin:/bin", "HOME": str(scratch)}
        program = SCRATCH / "debug" / "embedding"
        # In a folder with nothing in it: the program finds libtorch by its own place.
        outcome = json.loads(run([program, EXAMPLES, scratch / "embedded"], cwd=scratch, env=kept))
        data = EXAMPLES / "data"
        command = [
            binary, "prune", "--hf_model_name_or_path", EXAMPLES / "model", "--output_hf_path", scratch / "commanded",
            "--calib_dataset_name", data / "calib.jsonl", "--mmlu_dataset", data / "mmlu" / "test.jsonl", "--fresh", *FLAGS,
        ]
        printed = json.loads(run(command, cwd=scratch, env=kept))
        record = json.loads((scratch / "commanded" / "coppice.json").read_text())

        pairs = {
            "architecture": (json.loads(outcome["architecture"]), printed["best"]["export_config"]),
            "kept layers": (outcome["keptLayers"], record["kept_layers"]),
            "score": (outcome["score"]["mean"], printed["best"]["score"]),
            "parameters": (
                outcome["pruned"]["params"],
                next(c["params"] for c in printed["candidates"] if c["export_config"] == printed["best"]["export_config"]),
            ),
            "candidates": (
                [json.loads(candidate["config"]) for candidate in outcome["search"]["candidates"]],
                [candidate["export_config"] for candidate in printed["candidates"]],
            ),
            "weights": tuple(
                (scratch / name / "model.safetensors").read_bytes() for name in ("embedded", "commanded")
            ),
        }
        wrong = [f"{name}: {own} by the library, {other} by the command" if name != "weights" else "other weights"
                 for name, (own, other) in pairs.items() if own != other]
        if wrong:
            sys.exit("\n".join(wrong))
        print(f"the same by the library and by the command: {printed['best']}")


main()
