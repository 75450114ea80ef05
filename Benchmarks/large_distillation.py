"""A student that does not fit the memory: Qwen3-0.6B's shape learns from one of Qwen3-1.7B's shape within a memory budget.

    python Benchmarks/large_distillation.py [--quick] [--work DIR]

Random weights and tokens, rows of 512 tokens, four at a time, eight a step. Prints the peak of the memory, the tokens a second, and the
operations as a share of this machine's ceiling in matrix products of the same shapes and type: the useful ones, and with what is
computed again to save memory. Wants 25 GB of disk.
"""

import json
import statistics

import contestants
import measure
from contestants import COPPICE, checkpoint

STUDENT = dict(hidden=1024, layers=28, ffn=3072, heads=16, kv_heads=8, head_dim=128, vocab=151936, tied=True, seq=512, rows=4)
TEACHER = {**STUDENT, "hidden": 2048, "ffn": 6144}
BUDGET, STEPS, ROWS = "5GiB", 3, 8


def head(shape):
    return 2 * shape["hidden"] * shape["vocab"]


def useful(student, teacher):
    """Operations of a token: forward and twice that back in the student, forward in the teacher, with the heads."""
    return 3 * (contestants.operations(student) + head(student)) + contestants.operations(teacher) + head(teacher)


def again(student):
    """What is computed again: the student's layers on the way back."""
    return contestants.operations(student)


def main():
    arguments = measure.parse(measure.parser(__doc__, runs=1))
    student, teacher, budget = STUDENT, TEACHER, BUDGET
    if arguments.quick:
        student = teacher = {**STUDENT, **contestants.TINY}
        budget = "4MiB"
    with measure.workplace(arguments) as work:
        models = [checkpoint(f"{work}/{name}", shape) for name, shape in (("student", student), ("teacher", teacher))]
        own = contestants.own_type()
        before = measure.ceiling(contestants.products(student), own, arguments.quick)
        place = f"{work}/distilled"
        found = measure.run(
            ["bash", "-c", 'rm -rf "$1"; shift; exec "$@"', "-", place, COPPICE, "distill", "--student_hf_path", models[0],
             "--teacher_hf_path", models[1], "--output_dir", place, "--use_mock_data", "--seq_length", student["seq"], "--mbs",
             student["rows"], "--gbs", ROWS, "--train_iters", STEPS, "--eval_iters", 0, "--log_interval", 1, "--save_interval", 1000,
             "--memory_budget", budget])
        ceiling = measure.higher(before, measure.ceiling(contestants.products(student), own, arguments.quick))
        lines = [json.loads(line) for line in open(f"{place}/metrics.jsonl")]
        speed = statistics.median([line["tokens_per_second"] for line in lines][1:])
        gflops = speed * useful(student, teacher) / 1e9
        share = gflops / ceiling["gflops"]
        all_of_them = share * (1 + again(student) / useful(student, teacher))
        print(f"{speed:.1f} tokens/s, {gflops:.0f} useful GFLOP/s, {share:.0%} of the ceiling of {ceiling['gflops']:.0f} in {own}, "
              f"{all_of_them:.0%} with what is computed again; peak {found.peak_mib:,.0f} MiB with --memory_budget {budget}")
        measure.finish(
            "large-distillation", {"tokens_per_second": speed, "peak_mib": found.peak_mib, "useful_gflops": gflops, "ceiling": ceiling,
                                   "share": share, "share_with_again": all_of_them, "others": found.others, "dtype": own, "budget": budget}, arguments)


if __name__ == "__main__":
    main()
