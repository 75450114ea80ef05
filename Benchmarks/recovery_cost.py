"""What a rotation and a refit cost, as multiples of calibration on the same rows, at the shape of a 1.2-billion model.

    python Benchmarks/recovery_cost.py [--runs 3] [--rows 28] [--compute_dtype bfloat16 float32] [--binary .build/release/coppice]

Three layers with random weights (hidden 2048 to 1536, ffn 5632 to 4224, a head of 32,000 rows), rows of 1,024 tokens. In each
round and type once: calibration, the same with `--basis rotated`, then `--refit local` and `--refit sequential` on the same rows
with the scores that are there. Prints each step's seconds and their ratio to calibration's, of the same round and of the quickest of all.
"""

import json
import shutil

import contestants
import measure

STEPS = ("rotated", "local", "sequential")
CUT = {"hidden_size": 1536, "ffn_hidden_size": 4224}


def main():
    options = measure.parser(__doc__, runs=3)
    options.add_argument("--rows", type=int, default=28)
    options.add_argument("--compute_dtype", nargs="+", choices=contestants.TYPES, default=list(reversed(contestants.TYPES)))
    options.add_argument("--binary", default=contestants.COPPICE)
    arguments = measure.parse(options)
    shape, cut = dict(contestants.SHAPES["1.2B"], layers=3), CUT
    if arguments.quick:
        shape, cut, arguments.rows = contestants.TINY, {"hidden_size": 96, "ffn_hidden_size": 192}, 16
    results = {"shape": shape, "rows": arguments.rows}
    with measure.workplace(arguments) as work:
        model = contestants.checkpoint(work / "model", shape)
        text = contestants.long_text(work / "text.jsonl", arguments.rows, shape["seq"])

        def seconds(dtype, label, kept, *flags):
            shutil.rmtree(work / "out", ignore_errors=True)
            found = measure.run([
                arguments.binary, "prune", "--hf_model_name_or_path", model, "--output_hf_path", work / "out",
                "--prune_intermediate_ckpt", work / kept, "--prune_export_config", json.dumps(cut), "--calib_dataset_name", text,
                "--calib_num_samples", arguments.rows, "--seq_length", shape["seq"], "--compute_dtype", dtype, *flags])
            return contestants.step_seconds(found.stderr, label)

        def once(dtype):
            for name in ("channels", "rotated"):
                shutil.rmtree(work / name, ignore_errors=True)
            refit = ("--refit_rows", arguments.rows, "--refit")
            return {
                "calibration": seconds(dtype, "calibration", "channels"),
                "rotated": seconds(dtype, "calibration", "rotated", "--basis", "rotated"),
                "local": seconds(dtype, "refit", "channels", *refit, "local"),
                "sequential": seconds(dtype, "refit", "channels", *refit, "sequential")}

        found = measure.alternating(arguments.runs, {
            dtype: lambda dtype=dtype: once(dtype) for dtype in arguments.compute_dtype})
    for dtype, rounds in found.items():
        base = measure.column(rounds, "calibration")
        print(f"{dtype}: calibration {min(base):.1f} s")
        results[dtype] = {"calibration": measure.spread(base)}
        for step in STEPS:
            own = measure.column(rounds, step)
            ratio, least = measure.ratios(own, base), min(own) / min(base)
            results[dtype][step] = {"seconds": measure.spread(own), "ratio": ratio, "ratio_of_least": least}
            print(f"  {step:10} {min(own):6.1f} s, {measure.times(ratio)}, {least:.2f} by the least", flush=True)
    measure.finish("recovery-cost", results, arguments)


if __name__ == "__main__":
    main()
