"""A GPU against the CPU, and against PyTorch on the same GPU.

    python Benchmarks/gpu.py [--only parity,gradients,search,calibration,distillation] [--runs 3] [--quick]
        [--device cuda] [--work DIR]

parity: hidden states, logits, importances and kept sets of every golden checkpoint, float32. gradients: those of every golden
checkpoint by the text and by a teacher, float32. search: the bundled model's candidates and what they score. calibration and
distillation: tokens per second beside PyTorch + transformers in bfloat16, with the whole model on the GPU and as many rows at once
as suit it best; PyTorch's loading is not counted, Coppice's reading of the weights is. Wants a build, a GPU, and PyTorch with CUDA
in the Python that runs this.
"""

import concurrent.futures
import json
import pathlib
import shutil
import subprocess
import sys

import contestants
import measure
from contestants import COPPICE, FIXTURE, MMLU, TEXT, TINY, checkpoint
from measure import ROOT, column, ratios, spread, times

SHAPE = dict(hidden=2048, layers=28, ffn=6144, heads=16, kv_heads=8, head_dim=128, vocab=151936, tied=True)
STUDENT = {**SHAPE, "layers": 20, "ffn": 4096}
GOLDENS = sorted(path.parent for path in (ROOT / "Tests/Goldens").glob("**/model.safetensors"))
PARTS = ("parity", "gradients", "search", "calibration", "distillation")


def all_at_once(work, models):
    """Each model's outcome: None where it is right, else what was wrong."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        found = dict(zip(models, pool.map(work, models)))
    return {str(model.relative_to(ROOT)): wrong for model, wrong in found.items() if wrong}


def last_words(process):
    return "\n".join((process.stdout + process.stderr).splitlines()[-6:])


def parity(arguments, work):
    def one(model):
        done = subprocess.run([COPPICE.parent / "parity", model, "--device", arguments.device], capture_output=True, text=True)
        bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
        return "\n".join(bad) or (last_words(done) if done.returncode else None)

    return report("parity", GOLDENS, all_at_once(one, GOLDENS))


def report(name, models, wrong):
    for model, words in wrong.items():
        print(f"  {model}: {words}")
    print(f"{name}: {len(models) - len(wrong)} of {len(models)} checkpoints right", flush=True)
    return {"checkpoints": len(models), "wrong": wrong}


def gradients(arguments, work):
    sys.path.insert(0, str(ROOT / "Tests/Oracle"))
    import torch
    from gradients import perturbed
    from safetensors.torch import load_file
    rows = work / "rows.json"
    vocabulary = min(json.loads((m / "config.json").read_text()).get("vocab_size", 64) for m in GOLDENS)
    numbers = torch.randint(0, vocabulary, (3, 24), generator=torch.Generator().manual_seed(3)).tolist()
    rows.write_text(json.dumps(numbers))

    def one(model):
        place = work / "gradients" / str(model.relative_to(ROOT)).replace("/", "-")
        perturbed(str(model), str(place / "teacher"))
        for options in ([], ["--record"], ["--teacher", place / "teacher"]):
            for device in ("cpu", arguments.device):
                done = subprocess.run([COPPICE.parent / "gradients", model, rows, place / device, "--device", device,
                                       *options], capture_output=True, text=True)
                if done.returncode:
                    return f"{device} {options}: {last_words(done)}"
            ours, theirs = (load_file(place / device / "model.safetensors") for device in (arguments.device, "cpu"))
            # Where keys do not turn their bias has no bearing: what there is of its gradient is rounding.
            least = 1e-5 * max(right.float().abs().max() for right in theirs.values())
            for name, right in theirs.items():
                gap = (ours[name].float() - right.float()).abs().max() / right.float().abs().max().clamp(min=least)
                if not gap <= 1e-3:
                    return f"{options}: the gradient of {name} differs by {gap:.3g} of its largest"
            shutil.rmtree(place / "cpu"), shutil.rmtree(place / arguments.device, ignore_errors=True)

    return report("gradients", GOLDENS, all_at_once(one, GOLDENS))


def search(arguments, work):
    """The same candidates, and scores within two questions of a hundred."""
    found = {}
    for device in ("cpu", arguments.device):
        done = measure.run([
            COPPICE, "prune", "--json", "--hf_model_name_or_path", FIXTURE, "--output_hf_path", work / f"found-{device}",
            "--prune_intermediate_ckpt", work / f"scores-{device}", "--prune_target_params", "2.4e6", "--ss_channel_divisor", 32,
            "--calib_dataset_name", TEXT, "--calib_num_samples", 128, "--seq_length", 192, "--mmlu_dataset", MMLU,
            "--prune_score_func", "mmlu_10pct_bs1", "--device", device])
        found[device] = {json.dumps(c["export_config"], sort_keys=True): c.get("score") for c in json.loads(done.stdout)["candidates"]}
        found[device + "_seconds"] = done.wall
    gaps = [abs(found["cpu"][config] - score) for config, score in found[arguments.device].items() if score is not None]
    same = found["cpu"].keys() == found[arguments.device].keys()
    print(f"search: {len(gaps)} candidates, {'the same' if same else 'OTHERS'}; scores differ by {max(gaps):.4f} at most; "
          f"{found['cpu_seconds']:.1f} s on the CPU, {found[arguments.device + '_seconds']:.1f} s on the GPU", flush=True)
    return {"same": same, "largest_gap": max(gaps), "seconds": {d: found[d + "_seconds"] for d in ("cpu", arguments.device)}}


def calibration(arguments, work):
    shape = {**(TINY if arguments.quick else SHAPE), "seq": 2048, "rows": 32 if arguments.quick else 256}
    model, rows, seq = checkpoint(work / "model", shape), shape["rows"], shape["seq"]
    text = contestants.long_text(work / "text.jsonl", rows, seq)
    config = {"ffn_hidden_size": shape["ffn"] // 2}
    sides = {"coppice": lambda: contestants.prune(model, work, text, rows, seq, config, options=("--device", arguments.device))}
    for batch in (1, 8):
        sides[f"pytorch_{batch}"] = lambda batch=batch: contestants.pytorch(
            model, text, rows, seq, "bfloat16", "--device", arguments.device, "--batch", batch)
    found = measure.alternating(arguments.runs, sides)
    speed = {side: column(rounds, "tokens_per_second") for side, rounds in found.items()}
    best = max(("pytorch_1", "pytorch_8"), key=lambda side: spread(speed[side])["median"])
    for side in speed:
        print(f"  {side:12} {spread(speed[side])['median']:10,.0f} tokens/s")
    ratio = ratios(speed["coppice"], speed[best])
    useful = spread(speed["coppice"])["median"] * contestants.operations(shape) / 1e12
    print(f"calibration: {times(ratio)} {best}; {useful:.0f} useful TFLOP/s", flush=True)
    return {"shape": shape, "ratio": ratio, "tokens_per_second": {s: spread(v) for s, v in speed.items()}, "useful_tflops": useful}


def distillation(arguments, work):
    import distillation as other
    shapes = (TINY, {**TINY, "layers": 2}) if arguments.quick else (SHAPE, STUDENT)
    teacher, student = (checkpoint(work / name, shape) for name, shape in zip(("teacher", "student"), shapes))
    other.ROWS, other.MICRO, length = 32, 8, 64 if arguments.quick else 2048
    recomputes = () if arguments.quick else ("--recompute_granularity", "none")
    found = measure.alternating(arguments.runs, {
        "coppice": lambda: other.coppice(teacher, student, work, 6, length, ("--device", arguments.device, *recomputes)),
        "pytorch": lambda: other.pytorch(teacher, student, "bfloat16", 6, length, "--device", arguments.device)})
    speed = {side: column(rounds, "tokens_per_second") for side, rounds in found.items()}
    ratio = ratios(speed["coppice"], speed["pytorch"])
    ours, theirs = (spread(speed[side])["median"] for side in ("coppice", "pytorch"))
    print(f"distillation: {ours:,.0f} tokens/s, PyTorch {theirs:,.0f}: {times(ratio)}", flush=True)
    return {"shapes": shapes, "ratio": ratio, "tokens_per_second": {s: spread(v) for s, v in speed.items()}}


def main():
    options = measure.parser(__doc__, runs=3)
    options.add_argument("--device", default="cuda", help="cpu tries the program out")
    options.add_argument("--only", default=",".join(PARTS), help="which of them, separated by commas")
    arguments = measure.parse(options)
    names = arguments.only.split(",")
    if not set(names) <= set(PARTS):
        options.error(f"--only: known are {', '.join(PARTS)}")
    options = ["--query-gpu=name,driver_version", "--format=csv,noheader"]
    card = shutil.which("nvidia-smi") and subprocess.run(["nvidia-smi", *options], capture_output=True, text=True).stdout.strip()
    results = {"gpu": card, "device": arguments.device}
    print(results["gpu"])
    with measure.workplace(arguments) as work:
        for name in names:
            results[name] = globals()[name](arguments, pathlib.Path(work))
    measure.finish("gpu", results, arguments, alone=100)


if __name__ == "__main__":
    main()
