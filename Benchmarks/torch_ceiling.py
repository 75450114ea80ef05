"""How fast this machine multiplies matrices: torch.nn.functional.linear, over and over.

    python torch_ceiling.py 1024x2048x5632 1024x5632x2048 [--dtype bfloat16] [--seconds 1.5]

Shapes are tokens × inputs × outputs. Prints one JSON line: the best of all, and best and median of each shape, in
GFLOP/s.
"""

import argparse
import json
import statistics
import time

import torch


def timed(product, operations, seconds):
    """Best and median GFLOP/s of as many calls as fit, twenty at least."""
    for _ in range(3):
        product()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 20 or time.perf_counter() < end:
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return {"best": operations / min(times) / 1e9, "median": operations / statistics.median(times) / 1e9}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="+")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--seconds", type=float, default=1.5)
    a = parser.parse_args()
    dtype, found = getattr(torch, a.dtype), {}
    with torch.inference_mode():
        for text in a.shapes:
            tokens, inputs, outputs = map(int, text.split("x"))
            # Values as they are in a model, not ones: what a multiplier draws depends on them.
            x = torch.randn(tokens, inputs).to(dtype)
            weight = (0.02 * torch.randn(outputs, inputs)).to(dtype)
            operations = 2 * tokens * inputs * outputs
            found[text] = timed(lambda: torch.nn.functional.linear(x, weight), operations, a.seconds)
    print(json.dumps({
        "gflops": max(shape["best"] for shape in found.values()), "dtype": a.dtype, "threads": torch.get_num_threads(),
        "shapes": found}))


if __name__ == "__main__":
    main()
