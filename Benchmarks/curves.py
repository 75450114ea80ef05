"""Distillation of the bundled model by `coppice distill`: from what start and by which loss it comes nearest to the original.

    python Benchmarks/curves.py [--seeds 3] [--steps 200] [--quick] [--work DIR]

The cut to 60% of the parameters (hidden_size 128, ffn_hidden_size 416) sliced, rotated, refitted and both; each learns from the same rows,
once for each seed of their order. KL is measured on documents that nothing was calibrated on or learned from, accuracy on all questions.
"""

import json
import statistics

import measure
from contestants import COPPICE, FIXTURE, MMLU
from measure import ROOT

DATA = ROOT / "Examples/data"
CUT = {"hidden_size": 128, "ffn_hidden_size": 416}
STARTS = {"sliced": [], "rotated": ["--basis", "rotated"], "refitted": ["--refit", "sequential"], "both": ["--recover"]}
LENGTH, ROWS = 192, 8


def evaluate(model):
    found = json.loads(measure.run([
        COPPICE, "eval", "--json", "--hf_model_name_or_path", model, "--reference_model", FIXTURE, "--eval_dataset_name",
        DATA / "heldout.jsonl", "--eval_num_samples", 64, "--seq_length", LENGTH, "--mmlu_dataset", MMLU]).stdout)
    return {"kl": found["kl"]["mean"], "loss": found["loss"]["mean"], "accuracy": found["mmlu"]["accuracy"]}


def distil(student, place, seed, steps, more=()):
    """Held-out KL as the run itself measures it, and what comes of it."""
    measure.run([
        COPPICE, "distill", "--student_hf_path", student, "--teacher_hf_path", FIXTURE, "--output_dir", place, "--data_paths",
        DATA / "calib.jsonl", "--data_path_to_cache", f"{place}-tokens", "--split", "96,4,0", "--seq_length", LENGTH, "--mbs", ROWS,
        "--gbs", ROWS, "--train_iters", steps, "--lr", "1e-3", "--min_lr", "1e-4", "--lr_warmup_iters", steps // 20, "--eval_interval",
        max(steps // 8, 1), "--eval_iters", 4, "--save_interval", 10**6, "--seed", seed, *more])
    lines = [json.loads(line) for line in open(f"{place}/metrics.jsonl")]
    curve = [(line["step"], line["validation_kl"]) for line in lines if "validation_kl" in line]
    return {"curve": curve, **evaluate(f"{place}/hf")}


def main():
    options = measure.parser(__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--steps", type=int, default=200)
    arguments = measure.parse(options)
    seeds, steps = (1, 8) if arguments.quick else (arguments.seeds, arguments.steps)
    results = {"steps": steps, "tokens_per_step": ROWS * LENGTH, "original": evaluate(FIXTURE), "starts": {}, "runs": {}}
    with measure.workplace(arguments) as work:
        for name, how in STARTS.items():
            measure.run([
                COPPICE, "prune", "--hf_model_name_or_path", FIXTURE, "--output_hf_path", f"{work}/{name}", "--prune_export_config",
                json.dumps(CUT), "--calib_dataset_name", DATA / "calib.jsonl", "--calib_num_samples", 256, "--seq_length", LENGTH,
                "--prune_intermediate_ckpt", f"{work}/{name}-scores", *how])
            results["starts"][name] = evaluate(f"{work}/{name}")
        plans = [(name, name, []) for name in STARTS]
        plans.append(("sliced, by the text alone", "sliced", ["--no_skip_lm_loss", "--kd_loss_scale", "0"]))
        plans.append(("sliced, by both", "sliced", ["--no_skip_lm_loss"]))
        for title, start, more in plans:
            results["runs"][title] = [
                distil(f"{work}/{start}", f"{work}/run-{number}-{title.replace(' ', '')}", 1234 + number, steps, more)
                for number in range(seeds)]
            measure.say(f"  {title}: " + ", ".join(f"{run['kl']:.4f}" for run in results["runs"][title]))
    print(f"original: loss {results['original']['loss']:.3f}, accuracy {results['original']['accuracy']:.3f}")
    print(f"{'':28} KL before  after (each seed)            loss   accuracy")
    for title, start, _ in plans:
        runs, before = results["runs"][title], results["starts"][start]
        after = " ".join(f"{run['kl']:.4f}" for run in runs)
        mean = {key: statistics.mean(run[key] for run in runs) for key in ("loss", "accuracy")}
        print(f"{title:28} {before['kl']:8.3f}  {after:28} {mean['loss']:6.3f}  {before['accuracy']:.3f} → {mean['accuracy']:.3f}")
    measure.finish("curves", results, arguments)


if __name__ == "__main__":
    main()
