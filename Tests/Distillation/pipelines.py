"""Distillation in several processes, started by the command itself: stages and replicas come to what one process comes to, and go on
where another number of them was killed.

Usage: pipelines.py --binary PATH
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL, DATA = ROOT / "Examples/model", ROOT / "Examples/data"
STEPS, TOLERANCE = 12, 2e-5


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)

        def run(*arguments, **more):
            return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=300, **more)

        pruned = run(
            "prune", "--hf_model_name_or_path", MODEL, "--output_hf_path", place / "student", "--prune_export_config",
            '{"hidden_size": 96, "ffn_hidden_size": 128, "num_layers": 5}', "--calib_dataset_name", DATA / "calib.jsonl",
            "--calib_num_samples", "16", "--seq_length", "96", "--prune_intermediate_ckpt", place / "scores", "--quiet")
        assert pruned.returncode == 0, pruned.stderr

        def arguments(output, *more):
            return ["distill", "--student_hf_path", place / "student", "--teacher_hf_path", MODEL, "--output_dir", place / output,
                    "--data_paths", DATA / "calib.jsonl", "--data_path_to_cache", place / "tokens", "--seq_length", "64", "--mbs", "2",
                    "--gbs", "8", "--train_iters", STEPS, "--eval_interval", "4", "--eval_iters", "1", "--save_interval", "1",
                    "--log_interval", "1", "--lr_warmup_iters", "5", "--lr", "1e-3", "--compute_dtype", "float32", *more]

        def losses(output):
            lines = [json.loads(line) for line in open(place / output / "metrics.jsonl")]
            return {(line["step"], key): value for line in lines for key, value in line.items()
                    if key in ("kl", "loss", "validation_kl", "validation_loss", "kd_loss", "lm_loss")}

        def weights(output):
            return load_file(place / output / "hf" / "model.safetensors")

        def compare(output):
            one, other = weights("one"), weights(output)
            if one.keys() != other.keys():
                return faults.append(f"{output}: other tensors than one process writes")
            apart = max((one[name].float() - other[name].float()).abs().max().item() for name in one)
            # What is stored in bfloat16 may be rounded to the number beside it.
            near = all(torch.allclose(one[name].float(), other[name].float(), atol=TOLERANCE, rtol=2**-7) for name in one)
            ours, theirs = losses("one"), losses(output)
            worst = max((abs(ours[key] - theirs.get(key, float("inf"))) for key in ours), default=float("inf"))
            print(f"{output}: weights {apart:.1e} apart, losses {worst:.1e}")
            if not near or worst > 1e-3:
                faults.append(f"{output}: weights {apart} apart, losses {worst}")

        one = run(*arguments("one"))
        assert one.returncode == 0, one.stderr
        assert losses("one"), "no losses in the metrics"
        ways = [("two stages", ["--pp_size", "2"]), ("two stages of two", ["--pp_size", "2", "--nproc", "4"]),
                ("kept states", ["--pp_size", "3", "--teacher_cache", place / "states"]),
                ("kept states again", ["--pp_size", "2", "--teacher_cache", place / "states"]),
                ("spilled", ["--pp_size", "2", "--memory_budget", "1M"])]
        for name, more in ways:
            output = name.replace(" ", "-")
            found = run(*arguments(output, *more))
            if found.returncode != 0:
                faults.append(f"{name}: {found.stderr[-500:]}")
                continue
            compare(output)

        # Killed as stages, taken up again by others.
        output = "killed"
        process = subprocess.Popen(
            [binary, *map(str, arguments(output, "--pp_size", "2"))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        states = place / output / "checkpoints"
        while process.poll() is None and len(list(states.glob("iter_*/state.json"))) < 2:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        if process.returncode == 0:
            faults.append("killed: it was over before")
        for more in (["--pp_size", "3", "--exit_interval", "7"], ["--nproc", "2"]):
            found = run(*arguments(output, *more))
            if found.returncode != 0:
                faults.append(f"killed, {more}: {found.stderr[-500:]}")
        compare(output)

        for more, words in [(["--pp_size", "9"], "each stage wants one"), (["--pp_size", "2", "--nproc", "3"], "no multiple"),
                            (["--pp_size", "2", "--intermediate_layer_pairs", "2:3"], "leave one of them out"),
                            (["--pp_size", "0"], "--pp_size")]:
            found = run(*arguments("refused", *more))
            if found.returncode not in (1, 64) or words not in found.stderr or (place / "refused").exists():
                faults.append(f"{more}: {found.returncode}, {found.stderr[-300:]}")
    for fault in faults:
        print("BAD", fault)
    print(f"pipelines: {'all as one process' if not faults else f'{len(faults)} faults'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
