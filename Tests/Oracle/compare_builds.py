"""Whether two builds of the program give the same: exports of every golden model, kept scores, plans.

    python Tests/Oracle/compare_builds.py BEFORE AFTER [--only TEXT]

BEFORE and AFTER are two `coppice` programs, each with its two libraries beside it. Every golden checkpoint gets a small
tokenizer and text, is pruned by both to each architecture of its `expected.json`, and the two results are compared file
by file: weights and config.json byte by byte, importance scores as numbers (1e-6 relative; the kept sets, which the
weights show, must be the same). `plan --json` of every published config and of every golden must be the same text. Ends
with exit code 1 when anything differs. For a change that must not change what users get, before it is merged.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "Tests/Goldens"
# Hyperparameters whose scores are lists of one number a thing.
TOLERANCE = 1e-6


def run(program, *arguments):
    # A program that was copied elsewhere to be compared does not find the clone's libtorch by itself.
    environment = {"COPPICE_LIBTORCH": str(ROOT / ".deps/libtorch"), **os.environ}
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=environment)


def tokenizer(vocabulary):
    """A word-level tokenizer that knows every number below `vocabulary`."""
    words = {f"w{number}": number for number in range(vocabulary)}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    }


def prepared(golden, work):
    """A copy of a golden's checkpoint with a tokenizer, and text for it."""
    model = work / "model"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(golden / name, model / name)
    vocabulary = json.loads((golden / "config.json").read_text())["vocab_size"]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer(vocabulary)))
    draw = random.Random(golden.name)
    text = work / "text.jsonl"
    with open(text, "w") as file:
        for _ in range(12):
            words = " ".join(f"w{draw.randrange(vocabulary)}" for _ in range(40))
            file.write(json.dumps({"text": words}) + "\n")
    return model, text


def pruned(program, model, text, config, work):
    """What one build makes of a model: its exit code, files and scores."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    done = run(
        program, "prune", "--quiet", "--hf_model_name_or_path", model, "--output_hf_path", work / "out",
        "--prune_intermediate_ckpt", work / "scores", "--prune_export_config", json.dumps(config),
        "--calib_dataset_name", text, "--calib_num_samples", 8, "--seq_length", 32, "--calib_batch_size", 2,
        "--compute_dtype", "float32", "--device", "cpu")
    if done.returncode:
        # The words of a refusal may change, not that there is one.
        return {"exit": done.returncode}
    files = {
        path.name: path.read_bytes() for path in sorted((work / "out").iterdir())
        if path.suffix == ".safetensors" or path.name in ("config.json", "model.safetensors.index.json")}
    kept = work / "scores/importance.json"
    scores = json.loads(kept.read_text())["scores"] if kept.exists() else None
    return {"exit": 0, "files": files, "scores": scores}


def near(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(near(a[key], b[key]) for key in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-3)
    return a == b


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("before")
    options.add_argument("after")
    options.add_argument("--only", default="", help="only cases whose names hold this")
    arguments = options.parse_args()
    programs = [str(pathlib.Path(path).resolve()) for path in (arguments.before, arguments.after)]
    compared, different = {"exports": 0, "refusals": 0, "plans": 0}, []

    def differ(name, what):
        different.append(name)
        print(f"DIFFERENT {name}: {what}", flush=True)

    def check_plan(name, model, *target):
        found = [run(program, "plan", "--json", "--hf_model_name_or_path", model, *target) for program in programs]
        if [found[0].returncode, found[0].stdout] != [found[1].returncode, found[1].stdout]:
            differ(name, f"plans differ (exit {found[0].returncode} and {found[1].returncode})")
        elif found[0].returncode == 0:
            compared["plans"] += 1

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for expected in sorted(GOLDENS.glob("*/*/expected.json")):
            golden = expected.parent
            if arguments.only not in golden.name or not (golden / "config.json").exists():
                continue
            model, text = prepared(golden, work)
            for pruning in json.loads(expected.read_text()).get("prunings", []):
                config = pruning["export_config"]
                if not config:
                    continue
                name = f"{golden.name} {json.dumps(config)}"
                old, new = (pruned(program, model, text, config, work / "run") for program in programs)
                if old["exit"] != new["exit"]:
                    differ(name, f"exit {old['exit']} and {new['exit']}")
                elif old["exit"]:
                    compared["refusals"] += 1
                elif old["files"].keys() != new["files"].keys():
                    differ(name, f"files {sorted(old['files'])} and {sorted(new['files'])}")
                elif bad := [file for file in old["files"] if old["files"][file] != new["files"][file]]:
                    differ(name, f"{', '.join(bad)}: other bytes")
                elif not near(old["scores"], new["scores"]):
                    differ(name, "importance scores")
                else:
                    compared["exports"] += 1
            check_plan(golden.name, model, "--prune_target_params", "1e9", "--ss_channel_divisor", "8")
        for config in sorted(GOLDENS.glob("plan/*.config.json")):
            if arguments.only not in config.name:
                continue
            model = work / "published"
            shutil.rmtree(model, ignore_errors=True)
            model.mkdir()
            shutil.copy(config, model / "config.json")
            for target in (["--prune_target_params", "6e9"], ["--prune_target_active_params", "2.5e9"],
                           ["--prune_target_memory_mb", "24000", "--prune_target_params", "20e9"]):
                check_plan(f"{config.name} {' '.join(target)}", model, *target)
    print(f"{compared['exports']} exports, {compared['refusals']} refusals and {compared['plans']} plans are the same, "
          f"{len(different)} differ")
    sys.exit(1 if different or not compared["exports"] else 0)


if __name__ == "__main__":
    main()
