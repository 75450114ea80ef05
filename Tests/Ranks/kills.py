"""Runs of several processes whose ranks are killed at random moments: the others end in time, and the run goes on in any number of
processes, to the same bytes.

    .deps/venv/bin/python Tests/Ranks/kills.py --binary .build/release/coppice [--kills 30]

After each kill: every process has ended within 30 s, none of them by a signal but the one that was killed, and no temporary file
is left beside the output. One line a kill; the last line counts.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from same_bytes import DATA, ROOT, SEARCHES, different, port

WORLDS = [(2, 1), (2, 2), (3, 3), (3, 1), (4, 2)]


def start(binary, folder, ranks, stages):
    command = [
        str(binary), "prune", "--hf_model_name_or_path", str(ROOT / "Examples/model"), *SEARCHES["dense"],
        "--output_hf_path", str(folder / "out"), "--calib_dataset_name", str(DATA / "calib.jsonl"), "--calib_num_samples", "192",
        "--seq_length", "192", "--mmlu_dataset", str(DATA / "mmlu")]
    if stages > 1:
        command += ["--pp_size", str(stages)]
    variables = dict(os.environ) | {
        "COPPICE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp"),
        "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port())}
    return [
        subprocess.Popen(
            command, env=variables | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {
                key: value for key, value in variables.items() if key != "WORLD_SIZE"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        for rank in range(ranks)]


def ended(processes, within):
    limit, told = time.monotonic() + within, []
    for process in processes:
        text, _ = process.communicate(timeout=max(limit - time.monotonic(), 0.1))
        told.append(text)
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    binary, chance = pathlib.Path(arguments.binary).resolve(), random.Random(arguments.seed)
    passed, failed, kills = 0, 0, 0
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work) / "alone"
        (folder / "tmp").mkdir(parents=True)
        begun = time.monotonic()
        told = ended(start(binary, folder, 1, 1), 300)
        length = time.monotonic() - begun
        alone = folder / "out"
        assert (alone / "config.json").exists(), told
        print(f"alone it takes {length:.1f} s")
        number = 0
        while kills < arguments.kills:
            number += 1
            folder = pathlib.Path(work) / f"run-{number}"
            (folder / "tmp").mkdir(parents=True)
            while True:
                ranks, stages = chance.choice(WORLDS) if kills < arguments.kills else chance.choice([(1, 1), (3, 1), (2, 2)])
                processes = start(binary, folder, ranks, stages)
                victim = None
                if kills < arguments.kills:
                    time.sleep(chance.uniform(0, 1.2 * length))
                    victim = chance.randrange(ranks)
                    was_running = processes[victim].poll() is None
                    processes[victim].send_signal(signal.SIGKILL)
                try:
                    told = ended(processes, 30 if victim is not None and was_running else 300)
                    codes = [process.returncode for process in processes]
                    what = f"{ranks} processes, {stages} stages"
                    if victim is None or not was_running:
                        assert codes == [0] * ranks, f"{codes} {told[0][-500:]}"
                        found = different(alone, folder / "out")
                        assert not found, f"other bytes: {found}"
                        print(f"ok    {what}: to the end, the same bytes", flush=True)
                        passed += 1
                        break
                    kills += 1
                    others = [code for rank, code in enumerate(codes) if rank != victim]
                    # One that was done already is as good.
                    assert all(code in (0, 1) for code in others), f"{codes} {' | '.join(text[-300:] for text in told)}"
                    left = [path.name for path in folder.iterdir() if path.name not in ("tmp", "cache", "out")]
                    left += [path.name for path in (folder / "tmp").iterdir()]
                    assert not left, f"left: {left}"
                    print(f"ok    {what}: rank {victim} killed, the others end with {others}", flush=True)
                    passed += 1
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    kills += 1
                    print(f"FAIL  {ranks} processes, {stages} stages, rank {victim} killed: {error}", flush=True)
                    for process in processes:
                        process.kill()
                        process.communicate()
                    break
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
