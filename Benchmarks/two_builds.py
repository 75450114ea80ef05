"""Whether one build of the program is slower than another: alternating runs of the lines that the benchmarks have.

    python Benchmarks/two_builds.py BEFORE AFTER [--runs 5] [--only fixture,107M,1.2B,experts,scoring,help] [--work DIR]

BEFORE and AFTER are two `coppice` programs, each with its two libraries beside it. `fixture` is the bundled model from
process start to the pruned checkpoint, `107M` and `experts` are calibration in tokens a second (dense, and eight experts
of which each token sees two; `1.2B` too), `scoring` is ten candidates of the bundled model on all of its questions, `help`
twenty answers to `--help`. Prints medians
and the ratio of times, AFTER to BEFORE: above 1.03 is slower than noise explains, and ends with exit code 1.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import contestants
import measure
from contestants import FIXTURE, MMLU, SHAPES, TEXT
from measure import ROOT

LARGEST = 1.03


def experts(folder):
    """A random mixture of experts, in Mixtral's layout, of the dense shape's width."""
    if not folder.exists():
        subprocess.run([sys.executable, "-c", f"""
import torch
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM
torch.manual_seed(1)
config = MixtralConfig(vocab_size=2048, hidden_size=512, intermediate_size=768, num_hidden_layers=6, num_attention_heads=8,
    num_key_value_heads=4, num_local_experts=8, num_experts_per_tok=2, max_position_embeddings=1024)
model = MixtralForCausalLM(config).bfloat16()
for name, parameter in model.named_parameters():
    if "norm" in name: torch.nn.init.uniform_(parameter, 0.5, 1.5)
model.save_pretrained({str(folder)!r})
"""], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in pathlib.Path(FIXTURE).glob("tokenizer*"):
            shutil.copy(path, folder / path.name)
    return folder


def calibrated(program, model, text, rows, seq, config, work):
    contestants.COPPICE = program
    return contestants.prune(model, work, text, rows, seq, config)


def scored(program, work):
    for name in ("scored", "scored-kept"):
        shutil.rmtree(work / name, ignore_errors=True)
    found = measure.run([
        program, "prune", "--hf_model_name_or_path", FIXTURE, "--output_hf_path", work / "scored",
        "--prune_intermediate_ckpt", work / "scored-kept", "--prune_target_params", "3e6", "--ss_channel_divisor", "32",
        "--prune_score_func", "mmlu_100pct_bs1", "--mmlu_dataset", MMLU, "--calib_dataset_name", TEXT,
        "--calib_num_samples", 16, "--seq_length", 128])
    return {"seconds": contestants.scoring_seconds(found.stderr, 10)}


def main():
    options = measure.parser(__doc__)
    options.add_argument("before", type=pathlib.Path)
    options.add_argument("after", type=pathlib.Path)
    options.add_argument("--only", default="fixture,107M,experts,scoring", help="which of them, separated by commas")
    arguments = measure.parse(options)
    # A program that was copied elsewhere to be compared does not find the clone's libraries by itself.
    os.environ.setdefault("COPPICE_LIBTORCH", str(ROOT / ".deps/libtorch"))
    os.environ.setdefault("COPPICE_ARROW", str(ROOT / ".deps/arrow"))
    programs = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    slower = []
    with measure.workplace(arguments) as work:
        shape = SHAPES["107M"]
        long = contestants.long_text(work / "text.jsonl", shape["rows"], shape["seq"])
        lines = {
            "fixture": ("wall", lambda program: calibrated(
                program, FIXTURE, TEXT, 128, 256, {"num_layers": 6, "ffn_hidden_size": 256}, work)),
            "107M": ("seconds", lambda program: calibrated(
                program, contestants.checkpoint(work / "dense", shape), long, 16, shape["seq"],
                {"ffn_hidden_size": shape["ffn"] // 2}, work)),
            "1.2B": ("seconds", lambda program: calibrated(
                program, contestants.checkpoint(work / "large", SHAPES["1.2B"]), long, 8, SHAPES["1.2B"]["seq"],
                {"ffn_hidden_size": SHAPES["1.2B"]["ffn"] // 2}, work)),
            "help": ("wall", lambda program: {
                "wall": sum(measure.run([program, "prune", "--help"]).wall for _ in range(20))}),
            "experts": ("seconds", lambda program: calibrated(
                program, experts(work / "experts"), long, 16, 512, {"moe_ffn_hidden_size": 512}, work)),
            "scoring": ("seconds", lambda program: scored(program, work)),
        }
        for name in arguments.only.split(","):
            figure, run = lines[name]
            # Two builds of one program differ by little: once each before what is counted, then more rounds than usual.
            for program in programs.values():
                run(program)
            found = measure.alternating(arguments.runs, {
                side: lambda program=program: run(program) for side, program in programs.items()})
            seconds = {side: measure.column(rounds, figure) for side, rounds in found.items()}
            ratio = statistics.median(seconds["after"]) / statistics.median(seconds["before"])
            least = min(seconds["after"]) / min(seconds["before"])
            print(f"{name}: {statistics.median(seconds['before']):.3f} s before, {statistics.median(seconds['after']):.3f} s "
                  f"after: {ratio:.3f} times by medians, {least:.3f} by the least; {json.dumps(seconds)}", flush=True)
            if min(ratio, least) > LARGEST:
                slower.append(name)
    sys.exit(f"slower: {', '.join(slower)}" if slower else 0)


if __name__ == "__main__":
    main()
