#!/usr/bin/env python3
"""Kills a random rank of a search at random moments and starts it again, each time on another number of ranks: the others must
end by themselves with one message, nothing may be left, and in the end there must be the bytes of an undisturbed run.

    python Tests/Ranks/kills.py [--kills 30] [--seed 0] [--binary .build/release/coppice]
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import sys
import time

from processes import ROOT, Case, Failure, check, digest, one_error

LAYOUTS = [("--nproc", 2), ("--pp_size", 2), ("--nproc", 3), ("--pp_size", 2, "--nproc", 4)]


def search(case, folder, *more):
    return [
        case.options.binary, "prune", "--hf_model_name_or_path", ROOT / "Examples/model", "--output_hf_path", folder / "out",
        "--prune_intermediate_ckpt", folder / "scores", "--prune_target_params", "3e6", "--ss_channel_divisor", 32, "--top_k", 4,
        "--mmlu_dataset", ROOT / "Examples/data/mmlu", "--calib_dataset_name", ROOT / "Examples/data/calib.jsonl",
        "--calib_num_samples", 48, "--seq_length", 192, *more]


def kill(case, folder, length, chance):
    """Starts the run on some number of ranks and kills one of them, unless it ends before that.

    Returns whether there was anything to kill."""
    layout = chance.choice(LAYOUTS)
    process = case.start(search(case, folder, *layout))
    time.sleep(chance.uniform(0, length * 1.1))
    ranks = {number: rank for number, rank in case.processes().items() if rank is not None}
    if not ranks:
        check(case.wait(process, 120) == 0, case.error(process))
        return False
    number = chance.choice(sorted(ranks))
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        pass
    start = time.monotonic()
    code = case.wait(process, 35)
    what = f"{' '.join(map(str, layout))}, rank {ranks[number]}"
    if code == 0:
        return False  # It had done its work.
    check(code == 1, f"{what}: ended with {code}\n{case.error(process)}")
    check(time.monotonic() - start < 30, f"{what}: took {time.monotonic() - start:.1f} s")
    text = one_error(case.error(process))
    check(f"rank {ranks[number]} " in text, f"{what}: {text}")
    end = time.monotonic() + 5
    while case.processes() and time.monotonic() < end:
        time.sleep(0.02)
    check(not case.processes(), f"{what}: processes are left: {case.processes()}")
    print(f"killed {what}: {text[:160]}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/coppice")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    chance = random.Random(options.seed)
    case = Case("kills", options)
    try:
        whole = case.path / "whole"
        whole.mkdir()
        process = case.start(search(case, whole))
        check(case.wait(process, 300) == 0, case.error(process))
        expected = digest(whole / "out")
        folder = case.path / "run"
        folder.mkdir()
        start = time.monotonic()
        process = case.start(search(case, folder, "--nproc", 2))
        check(case.wait(process, 300) == 0, case.error(process))
        length = time.monotonic() - start
        check(digest(folder / "out") == expected, "two ranks give another result")
        kills = finished = 0
        while kills < options.kills:
            if (folder / "out").exists():
                shutil.rmtree(folder)
                folder.mkdir()
            if kill(case, folder, length, chance):
                kills += 1
            else:
                check(digest(folder / "out") == expected, "the result differs")
                finished += 1
        process = case.start(search(case, folder, "--nproc", 3))
        check(case.wait(process, 300) == 0, case.error(process))
        check(digest(folder / "out") == expected, "the result differs in the end")
        left = [path.name for path in folder.iterdir() if path.name not in ("out", "scores")]
        check(not left, f"left beside the output: {left}")
        case.finish()
        print(f"{kills} kills of a run of {length:.1f} s, {finished} times done before that: the bytes are the same")
    except Failure as failure:
        sys.exit(f"failed: {failure}")
    finally:
        case.close()


main()
