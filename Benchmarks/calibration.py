"""Calibration against PyTorch + transformers with hooks: the same work, the same machine, in turn.

    python Benchmarks/calibration.py [--runs 5] [--only fixture,107M,1.2B] [--quick] [--work DIR]

Prints, for each shape, medians of alternating runs: throughput of Coppice, of PyTorch with hooks (batch 1, the body
without the head) and without them, ratios, Coppice's share of this machine's own ceiling (matrix products of the type
it computes in, measured before and after, the higher one; useful operations counted), peak memory. For the fixture,
the bundled model: seconds from process start to the pruned checkpoint on disk. PyTorch computes in whichever of float32
and bfloat16 is quicker on this machine; where a trial leaves that open, both are measured. Keeps the result in
Benchmarks/results/.
"""

import shutil
import statistics

import contestants
import measure
from contestants import FIXTURE, SHAPES, TEXT, TINY
from measure import column, ratios, spread, times

# What is wanted of machines that multiply bfloat16, and of others.
WANTED = {
    "bfloat16": {"fixture": 8.0, "107M": 1.8, "1.2B": 1.25},
    "float32": {"fixture": 4.5, "107M": 1.3},
}
CALIBRATED_ON = (128, 256)  # the fixture: rows, tokens


def wanted(name):
    return WANTED[contestants.own_type()].get(name)


def trial(model, text, rows, seq):
    """Which of PyTorch's types are worth measuring."""
    return contestants.worthwhile(
        lambda dtype: contestants.pytorch(model, text, min(rows, 4), seq, dtype)["tokens_per_second"])


def shape(name, s, arguments, work):
    model = contestants.checkpoint(work / name, s)
    rows, seq = s["rows"], s["seq"]
    text = contestants.long_text(work / f"{name}.jsonl", rows, seq)
    config = {"ffn_hidden_size": s["ffn"] // 2}
    own, types = contestants.own_type(), trial(model, text, rows, seq)
    before = measure.ceiling(contestants.products(s), own, arguments.quick)
    sides = {"coppice": lambda: contestants.prune(model, work, text, rows, seq, config)}
    for dtype in types["measured"]:
        sides[f"hooks_{dtype}"] = lambda dtype=dtype: contestants.pytorch(model, text, rows, seq, dtype)
        sides[f"plain_{dtype}"] = lambda dtype=dtype: contestants.pytorch(model, text, rows, seq, dtype, "--no-hooks")
    found = measure.alternating(arguments.runs, sides)
    ceiling = measure.higher(before, measure.ceiling(contestants.products(s), own, arguments.quick))
    shutil.rmtree(model)
    chosen = {side: contestants.better(found, side, "tokens_per_second", max) for side in ("hooks", "plain")}
    best = {"coppice": "coppice", **{f"pytorch_{side}": f"{side}_{dtype}" for side, dtype in chosen.items()}}
    speed = {side: column(found[name], "tokens_per_second") for side, name in best.items()}
    useful = statistics.median(speed["coppice"]) * contestants.operations(s) / 1e9
    return {
        "shape": s, "tokens": rows * seq, "dtype": found["coppice"][0]["dtype"],
        "pytorch_dtype": {**chosen, **types},
        "tokens_per_second": {side: spread(values) for side, values in speed.items()},
        "ratio": ratios(speed["coppice"], speed["pytorch_hooks"]), "wanted": wanted(name),
        "ratio_to_plain": ratios(speed["coppice"], speed["pytorch_plain"]),
        "useful_gflops": useful, "share_of_ceiling": useful / ceiling["gflops"], "ceiling": ceiling,
        "peak_mib": {side: spread(column(found[name], "peak_mib")) for side, name in best.items()},
        "rounds": found,
    }


def fixture(arguments, work):
    """From process start to the pruned checkpoint on disk."""
    rows, seq = (16, 64) if arguments.quick else CALIBRATED_ON
    config = {"num_layers": 6, "ffn_hidden_size": 256}
    types = trial(FIXTURE, TEXT, rows, seq)

    def theirs(dtype):
        shutil.rmtree(work / "torch", ignore_errors=True)
        return contestants.pytorch(FIXTURE, TEXT, rows, seq, dtype, "--export", work / "torch")

    found = measure.alternating(arguments.runs, {
        "coppice": lambda: contestants.prune(FIXTURE, work, TEXT, rows, seq, config),
        **{f"hooks_{dtype}": lambda dtype=dtype: theirs(dtype) for dtype in types["measured"]}})
    chosen = contestants.better(found, "hooks", "wall", min)
    best = {"coppice": found["coppice"], "pytorch_hooks": found[f"hooks_{chosen}"]}
    wall = {side: column(rounds, "wall") for side, rounds in best.items()}
    return {
        "tokens": rows * seq, "dtype": found["coppice"][0]["dtype"], "pytorch_dtype": {"hooks": chosen, **types},
        "seconds": {side: spread(values) for side, values in wall.items()},
        "ratio": ratios(wall["pytorch_hooks"], wall["coppice"]), "wanted": wanted("fixture"),
        "peak_mib": {side: spread(column(rounds, "peak_mib")) for side, rounds in best.items()},
        "rounds": found,
    }


def report(name, r):
    wanted = f", wanted {r['wanted']}" if r["wanted"] else ""
    types = r["pytorch_dtype"]
    if "seconds" in r:
        ours, theirs = (r["seconds"][side]["median"] for side in ("coppice", "pytorch_hooks"))
        print(f"{name}, process start to checkpoint: {ours:.2f} s in {r['dtype']}, PyTorch {theirs:.2f} s in "
              f"{types['hooks']}: "
              f"{times(r['ratio'])}{wanted}", flush=True)
        return
    speed, peak, ceiling = r["tokens_per_second"], r["peak_mib"], r["ceiling"]
    print(f"{name}, {r['shape']['rows']} rows of {r['shape']['seq']} tokens, tokens/s: "
          f"{speed['coppice']['median']:,.0f} in {r['dtype']}, PyTorch with hooks "
          f"{speed['pytorch_hooks']['median']:,.0f} in {types['hooks']}, without "
          f"{speed['pytorch_plain']['median']:,.0f} in {types['plain']}")
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
