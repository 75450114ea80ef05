"""What the taps cost over a plain walk, and how near the walk comes to matrix products, in one process.

    python Benchmarks/walk.py [--runs 5] [--quick] [--work DIR] [--only 107M,1.2B,fixture]

`walk-bench` runs both walks and the products of the same shapes in turn; the products once by libtorch's own operator and
once with weights in oneDNN's order, as the walk has them.
"""

import json

import contestants
import measure
from contestants import FIXTURE, SHAPES, TINY
from measure import ROOT

WANTED = {"taps_cost": 0.03, "share_of_products": 0.80}


def main():
    options = measure.parser(__doc__)
    options.add_argument("--only", default="107M,1.2B,fixture")
    arguments = measure.parse(options)
    results = {"wanted": WANTED}
    with measure.workplace(arguments) as work:
        for name in arguments.only.split(","):
            if name == "fixture":
                model, rows, seq = FIXTURE, 128, 256
            else:
                s = TINY if arguments.quick else SHAPES[name]
                model, rows, seq = contestants.checkpoint(work / name, s), s["rows"], s["seq"]
            out = measure.run([
                ROOT / ".build/release/walk-bench", model, "--rows", rows, "--seq-length", seq, "--repeats",
                arguments.runs]).stdout
            found = results[name] = json.loads(out)
            print(f"{name}: {found['tokens_per_second']:.0f} tokens/s, taps cost {found['taps_cost']:.1%} (wanted at most 3%), "
                  f"{found['useful_gflops']:.0f} GFLOP/s: {found['share_of_products']:.0%} of libtorch's products, "
                  f"{found['share_of_packed']:.0%} of those in oneDNN's order")
    measure.finish("walk", results, arguments)


if __name__ == "__main__":
    main()
