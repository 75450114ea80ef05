"""How time and memory grow: with rows, layers, hidden_size and tokens per row, and scoring with candidates.

    python Benchmarks/growth.py [--runs 5] [--only rows,layers,hidden_size,tokens,candidates] [--quick] [--work DIR]

Each curve has four or five sizes, run in turn. A size's time is the smallest of its runs, as the calibration and
scoring lines say it; the exponent is fitted by least squares on logarithms. Along hidden_size (MLP and heads grow
with it) and tokens per row, useful operations grow faster than the size: there the exponent over operations is what
should be one. Memory is the whole process's peak, its slope over layers in MiB a layer beside what a layer weighs.
"""

import shutil

import contestants
import measure
from contestants import COPPICE, MMLU, SHAPES, TINY
from measure import column

WANTED = {"rows": 1.05, "layers": 1.05, "candidates": 1.05}


def heads_for(hidden):
    """A shape like that of 107 million parameters with another hidden size: three heads of 64 to a group."""
    return dict(hidden=hidden, ffn=3 * hidden, heads=hidden // 64, kv_heads=hidden // 192)


def curves(quick):
    """{name: {size: shape}}, each shape with the rows and tokens it is calibrated on."""
    if quick:
        base = {**TINY, "rows": 4, "seq": 64}
        return {
            "rows": {n: {**base, "rows": n} for n in (4, 8, 16)},
            "layers": {n: {**base, "layers": n} for n in (2, 4, 8)},
            "hidden_size": {n: {**base, **heads_for(n), "head_dim": 64} for n in (192, 384)},
            "tokens": {n: {**base, "seq": n} for n in (32, 64, 128)},
        }
    base = {**SHAPES["107M"], "rows": 8, "seq": 512}
    return {
        "rows": {n: {**base, "rows": n} for n in (4, 8, 16, 32, 64)},
        "layers": {n: {**base, "layers": n} for n in (6, 12, 24, 48)},
        "hidden_size": {n: {**base, "layers": 6, **heads_for(n)} for n in (384, 768, 1536, 3072)},
        "tokens": {n: {**base, "seq": n} for n in (128, 256, 512, 1024, 2048)},
    }


def model_for(work, s):
    """The checkpoint of a shape, made when first wanted: curves share those that only differ in what they read."""
    name = "x".join(str(s[key]) for key in ("hidden", "layers", "ffn", "heads", "kv_heads", "head_dim", "vocab"))
    return contestants.checkpoint(work / name, s)


def calibration_curve(name, shapes, arguments, work):
    models = {size: model_for(work, s) for size, s in shapes.items()}
    texts = {size: contestants.long_text(work / f"{name}-{size}.jsonl", s["rows"], s["seq"])
             for size, s in shapes.items()}

    def once(size, s):
        config = {"ffn_hidden_size": s["ffn"] // 2}
        return contestants.prune(models[size], work, texts[size], s["rows"], s["seq"], config)

    found = measure.alternating(
        arguments.runs, {size: lambda size=size, s=s: once(size, s) for size, s in shapes.items()})
    sizes = list(shapes)
    seconds = [min(column(found[size], "seconds")) for size in sizes]
    peaks = [min(column(found[size], "peak_mib")) for size in sizes]
    work_done = [contestants.operations(s) * s["rows"] * s["seq"] for s in shapes.values()]
    result = {
        "sizes": sizes, "seconds": seconds, "peak_mib": peaks, "exponent": measure.exponent(sizes, seconds),
        "exponent_over_operations": measure.exponent(work_done, seconds), "wanted": WANTED.get(name), "rounds": found,
    }
    if name == "layers":
        result["mib_per_layer"] = measure.slope(sizes, peaks)
        result["layer_mib"] = 2 * contestants.layer_weights(shapes[sizes[0]]) / 2**20
    return result


def candidates_curve(arguments, work):
    """Scoring with more and more candidates, on a tenth of the questions (a fiftieth when quick)."""
    s = {**TINY, "rows": 4, "seq": 64} if arguments.quick else {**SHAPES["107M"], "rows": 8, "seq": 192}
    sizes, percent, divisor, budget = ((1, 2, 4), 2, 32, "1.1e6") if arguments.quick else ((1, 2, 5, 10, 20), 10, 64,
                                                                                           "80e6")
    folder = work / "candidates"
    folder.mkdir()
    model, text = model_for(work, s), contestants.long_text(folder / "text.jsonl", s["rows"], s["seq"])
    base = [COPPICE, "prune", "--hf_model_name_or_path", model, "--output_hf_path", folder / "pruned",
            "--prune_intermediate_ckpt", folder / "scores", "--calib_dataset_name", text, "--calib_num_samples",
            s["rows"], "--seq_length", s["seq"]]
    measure.run([*base, "--prune_export_config", '{"num_layers": %d}' % (s["layers"] // 2)])

    def once(count):
        shutil.rmtree(folder / "pruned", ignore_errors=True)
        for path in (folder / "scores").glob("scores-*.json"):
            path.unlink()
        found = measure.run([
            *base, "--prune_target_params", budget, "--ss_channel_divisor", divisor, "--top_k", count,
            "--mmlu_dataset", MMLU, "--prune_score_func", f"mmlu_{percent}pct_bs1"])
        return {"seconds": contestants.scoring_seconds(found.stderr, count),
                "peak_mib": found.peak_mib, "others": found.others}

    found = measure.alternating(arguments.runs, {count: lambda count=count: once(count) for count in sizes})
    seconds = [min(column(found[count], "seconds")) for count in sizes]
    return {"sizes": sizes, "seconds": seconds, "exponent": measure.exponent(sizes, seconds),
            "peak_mib": [min(column(found[count], "peak_mib")) for count in sizes], "wanted": WANTED["candidates"],
            "rounds": found}


def report(name, r):
    print(f"{name}: exponent {r['exponent']:.3f}" + (f", wanted at most {r['wanted']}" if r["wanted"] else "")
          + (f"; over operations {r['exponent_over_operations']:.3f}" if "exponent_over_operations" in r else ""))
    for size, seconds, peak in zip(r["sizes"], r["seconds"], r["peak_mib"]):
        print(f"  {size:>6}  {seconds:9.3f} s  {peak:7,.0f} MiB")
    if "mib_per_layer" in r:
        print(f"  memory grows by {r['mib_per_layer']:.3f} MiB a layer; a layer weighs {r['layer_mib']:.1f} MiB")
    print(end="", flush=True)


def main():
    options = measure.parser(__doc__)
    names = ["rows", "layers", "hidden_size", "tokens", "candidates"]
    options.add_argument("--only", default=",".join(names), help="which curves, separated by commas")
    arguments = measure.parse(options)
    chosen = arguments.only.split(",")
    if not set(chosen) <= set(names):
        options.error(f"--only: curves are {', '.join(names)}")
    shapes, results = curves(arguments.quick), {}
    with measure.workplace(arguments) as work:
        for name in chosen:
            measure.say(f"{name}:")
            results[name] = (candidates_curve(arguments, work) if name == "candidates"
                             else calibration_curve(name, shapes[name], arguments, work))
            report(name, results[name])
    measure.finish("growth", results, arguments)


if __name__ == "__main__":
    main()
