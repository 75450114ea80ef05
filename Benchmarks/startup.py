"""How long one waits: for `coppice --help`, and for the first calibration batch of the bundled model.

    python Benchmarks/startup.py [--runs 20] [--quick] [--work DIR]

The first batch starts right after the line "calibrating on …" on standard error: its time is taken when that line
arrives here.
"""

import shutil
import statistics
import subprocess
import sys
import time

import contestants
import measure
from contestants import COPPICE, FIXTURE, TEXT
from measure import spread

WANTED = {"help": 0.25, "first_batch": 0.5}


def first_batch(work):
    """Seconds from process start to the line before the first batch."""
    for folder in ("pruned", "scores"):
        shutil.rmtree(work / folder, ignore_errors=True)
    command = [COPPICE, "prune", "--hf_model_name_or_path", FIXTURE, "--output_hf_path", work / "pruned",
               "--prune_intermediate_ckpt", work / "scores", "--prune_export_config", '{"num_layers": 6}',
               "--calib_dataset_name", TEXT, "--calib_num_samples", 128, "--seq_length", 256]
    seconds, lines = None, []
    start = time.perf_counter()
    words = [str(word) for word in command]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        # A pipe gives what is there: a line is seen when it is written, not when a block is full.
        for line in process.stderr:
            if seconds is None and line.startswith(b"calibrating on "):
                seconds = time.perf_counter() - start
            lines.append(line)
    if process.returncode or seconds is None:
        sys.exit(f"no calibration was seen:\n{b''.join(lines).decode()}")
    return seconds


def main():
    options = measure.parser(__doc__, runs=20)
    arguments = measure.parse(options)
    with measure.workplace(arguments) as work:
        found = measure.alternating(arguments.runs, {
            "help": lambda: measure.run([COPPICE, "--help"]).wall, "first_batch": lambda: first_batch(work)})
    for name, label in (("help", "coppice --help"), ("first_batch", "process start to first calibration batch")):
        values = found[name]
        print(f"{label}: {statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f}), "
              f"wanted within {WANTED[name]}")
    measure.finish("startup", {"seconds": {name: spread(values) for name, values in found.items()}, "wanted": WANTED,
                               "rounds": found}, arguments)


if __name__ == "__main__":
    main()
