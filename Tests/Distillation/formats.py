"""Files for other programs, read by those programs: indexed datasets by megatron-core, event files by TensorBoard, and what megatron-core
writes by `coppice distill`.

Usage: formats.py --binary PATH --packages DIR

DIR has megatron-core and tensorboard (Scripts/oracle-test puts them there).
"""

import argparse
import glob
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
MODEL, DATA = os.path.join(ROOT, "Examples/model"), os.path.join(ROOT, "Examples/data/calib.jsonl")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--packages", required=True)
    options = parser.parse_args()
    sys.path.insert(0, options.packages)
    warnings.simplefilter("ignore")
    import numpy
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    def run(*words):
        return subprocess.run([options.binary, *words], check=True, capture_output=True, text=True).stdout

    faults = []
    with tempfile.TemporaryDirectory() as place:
        text = ["--hf_model_name_or_path", MODEL, "--calib_dataset_name", DATA]
        run("tokenize", *text, "--output_prefix", f"{place}/text")
        rows = run("tokenize", *text, "--calib_num_samples", "2000", "--seq_length", "192", "--quiet")
        expected = [token for line in rows.splitlines() for token in json.loads(line)]
        dataset = IndexedDataset(f"{place}/text")
        found = numpy.concatenate([dataset[number] for number in range(len(dataset))]).tolist()
        if found != expected:
            faults.append(f"megatron-core reads {len(found)} tokens, other than the {len(expected)} that rows hold")
        builder = IndexedDatasetBuilder(f"{place}/other.bin", dtype=numpy.int32)
        for number in range(len(dataset)):
            builder.add_item(torch.tensor(dataset[number].astype("int64")))
            builder.end_document()
        builder.finalize(f"{place}/other.idx")
        sums = []
        for name in ("text", "other"):
            run("distill", "--student_hf_path", MODEL, "--teacher_hf_path", MODEL, "--output_dir", f"{place}/{name}-out", "--data_paths",
                f"{place}/{name}", "--seq_length", "64", "--mbs", "2", "--gbs", "2", "--train_iters", "3", "--log_interval", "1",
                "--eval_iters", "1", "--no_skip_lm_loss", "--quiet")
            with open(f"{place}/{name}-out/hf/model.safetensors", "rb") as file:
                sums.append(hashlib.sha256(file.read()).hexdigest())
        if sums[0] != sums[1]:
            faults.append("what megatron-core writes is learned from otherwise than what tokenize writes")
        events = glob.glob(f"{place}/text-out/tensorboard/events.out.tfevents.*")
        scalars = {}
        for event in LegacyEventFileLoader(events[0]).Load():
            for value in event.summary.value:
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
        for line in open(f"{place}/text-out/metrics.jsonl"):
            entries = json.loads(line)
            step = entries.pop("step")
            for name, value in entries.items():
                seen = scalars.get(name, {}).get(step)
                if seen is None or abs(seen - value) > 1e-5 * max(abs(value), 1e-6):
                    faults.append(f"TensorBoard reads {seen} as {name} of step {step}, where {value} was noted")
    for fault in faults:
        print("BAD", fault)
    print("indexed datasets and event files are those of megatron-core and TensorBoard" if not faults else f"{len(faults)} faults")
    sys.exit(bool(faults))


main()
