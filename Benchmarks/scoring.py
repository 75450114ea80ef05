"""Scoring ten candidates on about 1,000 MMLU-format questions, against the reference's way.

    python Benchmarks/scoring.py [--runs 5] [--fraction 0.1] [--weights random,grown] [--quick] [--work DIR]

The model has the 107-million shape with a vocabulary of 152,000. The questions are the first 55% of each subject of
the bundled test split: 83 of 150 in 12 subjects, 996 in all. Coppice is calibrated once, outside of the timing; what
counts is the time it says that scoring took, with and without --racing. The reference's way is torch_score.py: full
logits, one candidate after another, at batch 1 and at batch 32; only a tenth of its questions is timed, unless
--fraction says otherwise, and scaled up by their tokens.

What racing saves depends on how far the candidates are apart. Random weights answer at random, all candidates alike:
racing can drop few of them or none. Grown weights are the bundled trained model's, in the same large shape (see
grow_checkpoint.py): some candidates are far behind there, as in a real search. PyTorch's time depends on the shape
alone, so it is measured once for both; in whichever of float32 and bfloat16 is quicker on this machine, or in both
where a trial leaves that open.
"""

import json
import shutil
import sys

import contestants
import measure
from contestants import COPPICE, FIXTURE, MMLU, SHAPES, TINY
from measure import ROOT, column, ratios, spread, times

# What the issue that these were written for wants: without racing, with racing.
WANTED = {"coppice": 4.0, "racing": 8.0}


def settings(arguments):
    if arguments.quick:
        shape = {**TINY, "hidden": 384, "layers": 8, "ffn": 1024, "heads": 8, "kv_heads": 4}
        return dict(shape=shape, percent=2, top_k=3, rows=4, seq=64, budget="11e6", divisor=64)
    return dict(shape={**SHAPES["107M"], "vocab": 152000}, percent=55, top_k=10, rows=32, seq=192, budget="155e6",
                divisor=64)


def search(model, s):
    return ["--hf_model_name_or_path", model, "--prune_target_params", s["budget"], "--ss_channel_divisor",
            s["divisor"], "--top_k", s["top_k"], "--seq_length", s["seq"]]


def calibration(model, text, folder, s):
    return ["--calib_dataset_name", text, "--calib_num_samples", s["rows"], "--prune_intermediate_ckpt",
            folder / "scores", "--output_hf_path", folder / "pruned"]


def prepare(weights, folder, s):
    """A checkpoint with its importance scores kept: scoring is all that is left to do."""
    folder.mkdir()
    model = folder / "model"
    if weights == "grown":
        shape = [word for name in ("hidden", "layers", "ffn", "heads", "kv_heads", "head_dim", "vocab")
                 for word in ("--" + name.replace("_", "-"), s["shape"][name])]
        measure.run([sys.executable, ROOT / "Benchmarks/grow_checkpoint.py", FIXTURE, model, *shape])
    else:
        contestants.checkpoint(model, s["shape"])
    text = contestants.long_text(folder / "text.jsonl", s["rows"], s["seq"])
    config = json.dumps({"ffn_hidden_size": s["shape"]["ffn"] // 2})
    measure.run([COPPICE, "prune", "--hf_model_name_or_path", model, "--prune_export_config", config, "--seq_length",
                 s["seq"], *calibration(model, text, folder, s)])
    return model, text


def coppice(model, text, folder, s, *options):
    """Scores once more: seconds, peak memory, and what was found."""
    shutil.rmtree(folder / "pruned", ignore_errors=True)
    for path in (folder / "scores").iterdir():
        if path.name != "importance.json":
            path.unlink() if path.is_file() else shutil.rmtree(path)
    found = measure.run([
        COPPICE, "prune", "--json", *search(model, s), *calibration(model, text, folder, s), "--prune_score_func",
        f"mmlu_{s['percent']}pct_bs1", "--mmlu_dataset", MMLU, *options])
    result = json.loads(found.stdout)
    return {"seconds": contestants.scoring_seconds(found.stderr, s["top_k"]), "peak_mib": found.peak_mib,
            "others": found.others, "best": result["best"],
            "scores": [candidate.get("score") for candidate in result["candidates"]]}


def pytorch(model, candidates, s, batch, fraction, dtype):
    found = measure.run([
        sys.executable, ROOT / "Benchmarks/torch_score.py", model, MMLU / "test.jsonl", candidates, "--percent",
        s["percent"], "--batch", batch, "--fraction", fraction,
        "--dtype", dtype])
    return {"dtype": dtype, **json.loads(found.stdout.splitlines()[-1]), "peak_mib": found.peak_mib, "others": found.others}


def compare(arguments, work, s, weights):
    """Alternating runs of all sides."""
    sides = {}
    for kind in weights:
        folder = work / kind
        model, text = prepare(kind, folder, s)
        for name, flags in (("coppice", []), ("racing", ["--racing"])):
            sides[f"{name}_{kind}"] = lambda m=model, t=text, f=folder, flags=flags: coppice(m, t, f, s, *flags)
    plan = json.loads(measure.run([COPPICE, "plan", "--json", *search(model, s)]).stdout)
    configs = [candidate["export_config"] for candidate in plan["candidates"]]
    candidates = work / "candidates.json"
    candidates.write_text(json.dumps(configs))
    one = work / "candidate.json"
    one.write_text(json.dumps(configs[:1]))
    types = contestants.worthwhile(
        lambda dtype: 1 / pytorch(model, one, s, 1, min(arguments.fraction, 0.01), dtype)["seconds"])
    for batch in (1, 32):
        for dtype in types["measured"]:
            sides[f"pytorch_batch{batch}_{dtype}"] = lambda batch=batch, dtype=dtype: pytorch(
                model, candidates, s, batch, arguments.fraction, dtype)
    return configs, types, measure.alternating(arguments.runs, sides)


def summary(found):
    """Seconds of every side, and ratios of PyTorch's to Coppice's."""
    seconds = {side: column(rounds, "seconds") for side, rounds in found.items()}
    return {
        "seconds": {side: spread(values) for side, values in seconds.items()},
        "ratios": {f"{theirs} / {ours}": {**ratios(seconds[theirs], seconds[ours]),
                                          "wanted": WANTED[ours.split("_")[0]]}
                   for ours in seconds if not ours.startswith("pytorch")
                   for theirs in seconds if theirs.startswith("pytorch")},
        "peak_mib": {side: spread(column(rounds, "peak_mib")) for side, rounds in found.items()},
    }


def main():
    options = measure.parser(__doc__)
    options.add_argument("--fraction", type=float, default=0.1, help="part of the questions that PyTorch is timed on")
    options.add_argument("--weights", default="random,grown", help="which weights, separated by commas")
    arguments = measure.parse(options)
    weights = arguments.weights.split(",")
    if not set(weights) <= {"random", "grown"} or not 0 < arguments.fraction <= 1:
        options.error("--weights are random, grown or both, and --fraction is above 0 and at most 1")
    s = settings(arguments)
    with measure.workplace(arguments) as work:
        configs, types, found = compare(arguments, work, s, weights)
    questions = next(rounds[0]["questions"] for side, rounds in found.items() if side.startswith("pytorch"))
    results = {"settings": s, "fraction": arguments.fraction, "questions": questions, "candidates": configs,
               "dtype": contestants.own_type(), "pytorch_dtype": types,
               **summary(found), "rounds": found}
    print(f"{len(configs)} candidates, {questions} questions; PyTorch timed on {arguments.fraction:.0%} of them, "
          "scaled up by tokens")
    for side, value in results["seconds"].items():
        print(f"  {side:24} {value['median']:8.1f} s   peak {results['peak_mib'][side]['median']:7,.0f} MiB")
    for name, value in results["ratios"].items():
        print(f"  {name:44} {times(value)}, wanted {value['wanted']}")
    measure.finish("scoring", results, arguments)


if __name__ == "__main__":
    main()
