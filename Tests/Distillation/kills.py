"""Kills `coppice distill` at random moments and goes on: the result is the same bytes as undisturbed, and nothing is left over.

Usage: kills.py --binary PATH [--kills N]
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
MODEL, DATA = os.path.join(ROOT, "Examples/model"), os.path.join(ROOT, "Examples/data")


def digest(directory):
    """All files of a trained model, but for the paths that its record names."""
    names = sorted(name for name in os.listdir(directory) if name.endswith((".safetensors", "config.json")))
    return {name: hashlib.sha256(open(os.path.join(directory, name), "rb").read()).hexdigest() for name in names}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as place:
        student = f"{place}/student"
        subprocess.run(
            [options.binary, "prune", "--hf_model_name_or_path", MODEL, "--output_hf_path", student, "--prune_export_config",
             '{"hidden_size": 96, "ffn_hidden_size": 128, "num_layers": 4}', "--calib_dataset_name", f"{DATA}/calib.jsonl",
             "--calib_num_samples", "16", "--seq_length", "96", "--prune_intermediate_ckpt", f"{place}/scores", "--quiet"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def command(output):
            return [options.binary, "distill", "--student_hf_path", student, "--teacher_hf_path", MODEL, "--output_dir",
                    f"{place}/{output}", "--data_paths", f"{DATA}/calib.jsonl", "--data_path_to_cache", f"{place}/{output}-tokens",
                    "--seq_length", "64", "--mbs", "2", "--gbs", "4", "--train_iters", "40", "--eval_interval", "10", "--eval_iters",
                    "2", "--save_interval", "2", "--log_interval", "5", "--lr_warmup_iters", "5", "--lr", "1e-3"]

        start = time.time()
        subprocess.run(command("whole"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took = time.time() - start
        expected = digest(f"{place}/whole/hf")
        chance = random.Random(7)
        kills, runs = 0, 0
        while kills < options.kills:
            runs += 1
            output = f"killed{runs}"
            while True:
                process = subprocess.Popen(command(output), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                if kills < options.kills:
                    try:
                        process.wait(chance.uniform(0.02, took))
                    except subprocess.TimeoutExpired:
                        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
                        kills += 1
                _, message = process.communicate()
                if process.returncode == 0:
                    break
                if process.returncode > 0:
                    faults.append(f"run {runs} ended with {process.returncode}: {message[-300:]}")
                    break
            if process.returncode == 0 and digest(f"{place}/{output}/hf") != expected:
                faults.append(f"run {runs}: other bytes than undisturbed")
            steps = [line.split('"step": ')[1].split(",")[0] for line in open(f"{place}/{output}/metrics.jsonl")]
            if steps != sorted(steps, key=int):
                faults.append(f"run {runs}: metrics out of order: {steps}")
            left = [name for folder, _, names in os.walk(f"{place}/{output}") for name in names + [folder] if ".partial" in name]
            left = [name for name in left if process.returncode == 0]
            if left:
                faults.append(f"run {runs}: left over: {left[:3]}")
    for fault in faults:
        print("BAD", fault)
    print(f"{kills} kills in {runs} runs of {took:.1f} s: {'the same bytes' if not faults else f'{len(faults)} faults'}")
    sys.exit(bool(faults))


main()
