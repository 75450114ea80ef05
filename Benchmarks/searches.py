"""The reference's search and ours on the bundled model: which candidates win, and what is delivered.

    python Benchmarks/searches.py [--binary .build/release/coppice] [--points] [--out FILE.json]

For three budgets: channels by size and accuracy as the reference searches, and `--recover` with `--prefilter kl` by divergence. Of each
the winner, and the loss, divergence and accuracy of the result on held-out text. With --points every point of a space of 195 is
scored instead, cut and with each map refitted for itself, and it is told at which place of the forecast's order the best of those
that fit stands, for five budgets.
"""

import argparse
import json
import pathlib
import tempfile

from bundled import DATA, ROOT, Bench, params

BUDGETS = [0.75, 0.6, 0.44]
SPACE = ["--ss_channel_divisor", "16", "--max_depth_pruning", "0.5"]
QUESTIONS = ["--prune_score_func", "mmlu_30pct_bs1", "--mmlu_dataset", str(DATA / "mmlu")]
DIVERGENCE = [
    "--prune_score_func", "neg_kl", "--eval_dataset_name", str(DATA / "heldout.jsonl"), "--eval_num_samples", "16"]
SEARCHES = {
    "the reference's": QUESTIONS,
    "by divergence": ["--prefilter", "kl", *DIVERGENCE],
    "as delivered": ["--recover", "--prefilter", "kl", *DIVERGENCE],
}


def search(bench, share, name, flags):
    out = bench.work / "searched"
    seconds, found = bench.prune(
        out, [*flags, *SPACE, "--prune_target_params", str(int(share * params({})))],
        kept="rotated" if "--recover" in flags else "channels")
    result = dict(share=share, search=name, seconds=round(seconds, 1), winner=found["best"]["export_config"], **bench.evaluate(out))
    print(
        f"{share:.2f} {name:16} {json.dumps(result['winner']):90} loss {result['loss']:.3f}  kl {result['kl']:.3f}  "
        f"accuracy {result['accuracy']:.3f}  {seconds:.0f} s", flush=True)
    return result


def points(bench, name, flags):
    out = bench.work / "points"
    _, found = bench.prune(
        out, [*flags, "--prefilter", "kl", *DIVERGENCE, *SPACE, "--hparams_to_skip", "num_attention_heads", "--top_k", "1000",
              "--prune_target_params", str(params({}))], kept=name)
    found = found["candidates"]
    lines = []
    for share in (0.9, 0.75, 0.6, 0.5, 0.44):
        fit = [point for point in found if point["params"] <= share * params({})]
        best = max(fit, key=lambda point: point["score"])
        place = 1 + sum(point["forecast_kl"] < best["forecast_kl"] for point in fit)
        size = 1 + sum(point["params"] > best["params"] for point in fit)
        lines.append(dict(weights=name, share=share, points=len(fit), by_forecast=place, by_size=size, best=best))
        print(
            f"{name:10} {share:.2f}: of {len(fit):3} points the best ({json.dumps(best['export_config'])}, kl "
            f"{-best['score']:.3f}) is number {place} by forecast, {size} by size", flush=True)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--points", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options.binary, work)
        if options.points:
            lines += points(bench, "cut", [])
            lines += points(bench, "refitted", ["--basis", "rotated", "--refit", "local", "--refit_rows", "64"])
        else:
            for share in BUDGETS:
                lines += [search(bench, share, name, flags) for name, flags in SEARCHES.items()]
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
