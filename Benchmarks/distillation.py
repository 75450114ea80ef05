"""Distillation against PyTorch + transformers: tokens per second and peak memory, alternating, medians of ratios.

    python Benchmarks/distillation.py [--runs 3] [--quick] [--work DIR]

A teacher of 107 million parameters and a student of 70 million, rows of 512 tokens, four at a time, eight a step; random weights and
tokens. PyTorch computes in the better of its two types on this machine. Coppice also learns from what it has kept of the teacher: its
states, and its 64 likeliest tokens.
"""

import json
import pathlib
import statistics
import sys

import contestants
import measure
from contestants import COPPICE, SHAPES, checkpoint
from measure import ROOT

STUDENT = dict(hidden=640, layers=10, ffn=1920, heads=10, kv_heads=5, head_dim=64, vocab=32000, tied=True)
STEPS, ROWS, MICRO, LENGTH = 5, 8, 4, 512


def pytorch(teacher, student, dtype, steps, length, *options):
    found = measure.run([sys.executable, ROOT / "Benchmarks/torch_distill.py", teacher, student, "--dtype", dtype, "--steps", steps,
                         "--rows", ROWS, "--micro", MICRO, "--seq-length", length, *options])
    return {"tokens_per_second": json.loads(found.stdout.splitlines()[-1])["tokens_per_second"], "peak_mib": found.peak_mib,
            "others": found.others, "dtype": dtype}


def coppice(teacher, student, work, steps, length, kept=()):
    place = f"{work}/distilled"
    found = measure.run(["bash", "-c", 'rm -rf "$1"; shift; exec "$@"', "-", place, COPPICE, "distill", "--student_hf_path", student,
                         "--teacher_hf_path", teacher, "--output_dir", place, "--use_mock_data", "--seq_length", length, "--mbs", MICRO,
                         "--gbs", ROWS, "--train_iters", steps, "--eval_iters", 0, "--log_interval", 1, "--save_interval", 1000,
                         *kept])
    lines = [json.loads(line) for line in open(f"{place}/metrics.jsonl")]
    speeds = [line["tokens_per_second"] for line in lines][1:] or [lines[0]["tokens_per_second"]]
    return {"tokens_per_second": statistics.median(speeds), "peak_mib": found.peak_mib, "others": found.others,
            "dtype": contestants.own_type()}


def main():
    arguments = measure.parse(measure.parser(__doc__, runs=3))
    steps, length = (2, 64) if arguments.quick else (STEPS, LENGTH)
    with measure.workplace(arguments) as work:
        tiny = contestants.TINY
        teacher = checkpoint(f"{work}/teacher", tiny if arguments.quick else SHAPES["107M"])
        student = checkpoint(f"{work}/student", {**tiny, "layers": 2} if arguments.quick else STUDENT)
        # Short rows suffice to tell the types apart: where bfloat16 crawls it is ten times slower.
        types = contestants.worthwhile(lambda dtype: pytorch(teacher, student, dtype, 2, min(length, 128))["tokens_per_second"])
        sides = {f"pytorch_{dtype}": (lambda dtype=dtype: pytorch(teacher, student, dtype, steps, length)) for dtype in types["measured"]}
        sides["coppice"] = lambda: coppice(teacher, student, work, steps, length)
        caches = {"states": ["--teacher_cache", f"{work}/cache"], "likeliest": ["--teacher_cache", f"{work}/cache",
                                                                               "--teacher_cache_topk", 64]}
        for name, kept in caches.items():
            coppice(teacher, student, work, steps, length, kept)
            sides[f"coppice_{name}"] = lambda kept=kept: coppice(teacher, student, work, steps, length, kept)
        found = measure.alternating(arguments.runs, sides)
        best = contestants.better(found, "pytorch", "tokens_per_second", max)
        theirs, ours = found[f"pytorch_{best}"], found["coppice"]

        def faster(ours):
            return statistics.median(a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(ours, theirs))

        speed, cached = faster(ours), {name: faster(found[f"coppice_{name}"]) for name in caches}
        memory = statistics.median(a["peak_mib"] / b["peak_mib"] for a, b in zip(ours, theirs))
        for name, rounds in found.items():
            print(f"{name:18} {statistics.median(measure.column(rounds, 'tokens_per_second')):9,.0f} tokens/s "
                  f"{statistics.median(measure.column(rounds, 'peak_mib')):8,.0f} MiB")
        print(f"coppice against PyTorch in {best}: {speed:.2f} × the tokens per second, {memory:.2f} × the memory")
        print("what is kept of the teacher read again: " + ", ".join(f"{name} {ratio:.2f} ×" for name, ratio in cached.items()))
        measure.finish("distillation", {"types": types, "rounds": found, "speed": speed, "cached": cached, "memory": memory}, arguments)


if __name__ == "__main__":
    main()
