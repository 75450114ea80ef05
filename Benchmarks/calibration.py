"""Calibration against PyTorch + transformers with hooks: the same work, the same machine, in turn.

    python Benchmarks/calibration.py [--runs 5] [--only fixture,107M,1.2B] [--quick] [--work DIR]

Prints, for each shape, medians of alternating runs: throughput of Coppice, of PyTorch with hooks (batch 1, the body
without the head) and without them, ratios, Coppice's share of this machine's own ceiling (bfloat16 matrix products,
measured before and after, the higher one; useful operations counted), peak memory. For the fixture, the bundled
model: seconds from process start to the pruned checkpoint on disk. Keeps the result in Benchmarks/results/.
"""

import shutil
import statistics

import contestants
import measure
from contestants import FIXTURE, SHAPES, TEXT, TINY
from measure import column, ratios, spread, times

# What the issue that these were written for wants to see.
WANTED = {"fixture": 8.0, "107M": 1.8, "1.2B": 1.25}
CALIBRATED_ON = (128, 256)  # the fixture: rows, tokens


def shape(name, s, arguments, work):
    model = contestants.checkpoint(work / name, s)
    rows, seq = s["rows"], s["seq"]
    text = contestants.long_text(work / f"{name}.jsonl", rows, seq)
    config = {"ffn_hidden_size": s["ffn"] // 2}
    before = measure.ceiling(contestants.products(s), arguments.quick)
    found = measure.alternating(arguments.runs, {
        "coppice": lambda: contestants.prune(model, work, text, rows, seq, config),
        "pytorch_hooks": lambda: contestants.pytorch(model, text, rows, seq),
        "pytorch_plain": lambda: contestants.pytorch(model, text, rows, seq, "--no-hooks"),
    })
    ceiling = measure.higher(before, measure.ceiling(contestants.products(s), arguments.quick))
    shutil.rmtree(model)
    speed = {side: column(rounds, "tokens_per_second") for side, rounds in found.items()}
    useful = statistics.median(speed["coppice"]) * contestants.operations(s) / 1e9
    return {
        "shape": s, "tokens": rows * seq,
        "tokens_per_second": {side: spread(values) for side, values in speed.items()},
        "ratio": ratios(speed["coppice"], speed["pytorch_hooks"]), "wanted": WANTED.get(name),
        "ratio_to_plain": ratios(speed["coppice"], speed["pytorch_plain"]),
        "useful_gflops": useful, "share_of_ceiling": useful / ceiling["gflops"], "ceiling": ceiling,
        "peak_mib": {side: spread(column(rounds, "peak_mib")) for side, rounds in found.items()},
        "rounds": found,
    }


def fixture(arguments, work):
    """From process start to the pruned checkpoint on disk."""
    rows, seq = (16, 64) if arguments.quick else CALIBRATED_ON
    config = {"num_layers": 6, "ffn_hidden_size": 256}

    def theirs():
        shutil.rmtree(work / "torch", ignore_errors=True)
        return contestants.pytorch(FIXTURE, TEXT, rows, seq, "--export", work / "torch")

    found = measure.alternating(arguments.runs, {
        "coppice": lambda: contestants.prune(FIXTURE, work, TEXT, rows, seq, config), "pytorch_hooks": theirs})
    wall = {side: column(rounds, "wall") for side, rounds in found.items()}
    return {
        "tokens": rows * seq, "seconds": {side: spread(values) for side, values in wall.items()},
        "ratio": ratios(wall["pytorch_hooks"], wall["coppice"]), "wanted": WANTED["fixture"],
        "peak_mib": {side: spread(column(rounds, "peak_mib")) for side, rounds in found.items()},
        "rounds": found,
    }


def report(name, r):
    wanted = f", wanted {r['wanted']}" if r["wanted"] else ""
    if "seconds" in r:
        ours, theirs = (r["seconds"][side]["median"] for side in ("coppice", "pytorch_hooks"))
        print(f"{name}, process start to checkpoint: {ours:.2f} s, PyTorch {theirs:.2f} s: "
              f"{times(r['ratio'])}{wanted}", flush=True)
        return
    speed, peak, ceiling = r["tokens_per_second"], r["peak_mib"], r["ceiling"]
    print(f"{name}, {r['shape']['rows']} rows of {r['shape']['seq']} tokens, tokens/s: "
          f"{speed['coppice']['median']:,.0f}, PyTorch with hooks {speed['pytorch_hooks']['median']:,.0f}, "
          f"without {speed['pytorch_plain']['median']:,.0f}")
    print(f"  against hooks {times(r['ratio'])}{wanted}; against none {times(r['ratio_to_plain'])}")
    print(f"  {r['useful_gflops']:.0f} useful GFLOP/s, {r['share_of_ceiling']:.1%} of the ceiling of "
          f"{ceiling['gflops']:.0f} (before {ceiling['before_gflops']:.0f}, after {ceiling['after_gflops']:.0f})")
    print(f"  peak memory {peak['coppice']['median']:,.0f} MiB, PyTorch {peak['pytorch_hooks']['median']:,.0f} MiB",
          flush=True)


def main():
    options = measure.parser(__doc__)
    options.add_argument("--only", default="fixture,107M,1.2B", help="which of them, separated by commas")
    arguments = measure.parse(options)
    shapes = {"tiny": TINY} if arguments.quick else SHAPES
    names = ["fixture", "tiny"] if arguments.quick else arguments.only.split(",")
    unknown = [name for name in names if name not in ("fixture", *shapes)]
    if unknown:
        options.error(f"--only: {', '.join(unknown)} is none of fixture, {', '.join(shapes)}")
    results = {}
    with measure.workplace(arguments) as work:
        for name in names:
            results[name] = fixture(arguments, work) if name == "fixture" else shape(
                name, shapes[name], arguments, work)
            report(name, results[name])
    measure.finish("calibration", results, arguments)


if __name__ == "__main__":
    main()
