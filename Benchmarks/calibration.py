"""Calibration against PyTorch + transformers with hooks: the same work, the same machine, in turn.

    python Benchmarks/calibration.py [--runs 5] [--only fixture,107M,1.2B]

Prints, for each shape, medians of alternating runs: throughput of both, their ratio, Coppice's share of this
machine's own ceiling (bfloat16 matrix products, measured in the run; useful operations counted), peak memory. Keeps
the result in Benchmarks/results/.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
COPPICE = ROOT / ".build/release/coppice"
DATA = ROOT / "Examples/data/calib.jsonl"
SHAPES = {
    "107M": dict(hidden=768, layers=12, ffn=2304, heads=12, kv_heads=4, head_dim=64, tied=True, seq=512, rows=16),
    "1.2B": dict(hidden=2048, layers=24, ffn=5632, heads=16, kv_heads=8, head_dim=128, tied=False, seq=1024, rows=4),
}


def run(command):
    """(wall seconds, peak MiB, stdout, stderr) of a command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        out.seek(0), err.seek(0)
        texts = out.read().decode(), err.read().decode()
    if status:
        sys.exit(f"{command}: {texts[1][-2000:]}")
    return wall, usage.ru_maxrss / 1024, *texts


def ceiling():
    """bfloat16 matrix products of this machine, GFLOP/s: the best of many."""
    code = (
        "import torch,time\nx=torch.ones(1024,2048,dtype=torch.bfloat16);w=torch.ones(5632,2048,dtype=torch.bfloat16)\n"
        "best=1e9\nfor i in range(40):\n  t=time.perf_counter();torch.nn.functional.linear(x,w);"
        "best=min(best,time.perf_counter()-t)\nprint(2*1024*2048*5632/best/1e9)")
    return float(run([sys.executable, "-c", code])[2])


def seconds(text):
    found = re.search(r"calibration: .* in (?:(\d+)m )?([\d.]+)s", text)
    return 60 * float(found[1] or 0) + float(found[2])


def coppice(model, work, rows, seq, config):
    subprocess.run(["rm", "-rf", f"{work}/out", f"{work}/scores"], check=True)
    return run([
        COPPICE, "prune", "--hf_model_name_or_path", model, "--output_hf_path", f"{work}/out",
        "--prune_intermediate_ckpt", f"{work}/scores", "--prune_export_config", json.dumps(config),
        "--calib_dataset_name", DATA, "--calib_num_samples", rows, "--seq_length", seq])


def shape(name, s, runs, work):
    model = f"{work}/{name}"
    subprocess.run(
        [sys.executable, ROOT / "Benchmarks/make_checkpoint.py", model, *(["--tied"] if s["tied"] else [])]
        + [x for k in ("hidden", "layers", "ffn", "heads", "kv_heads", "head_dim")
           for x in ("--" + k.replace("_", "-"), str(s[k]))], check=True, stdout=subprocess.DEVNULL)
    tokens = s["rows"] * s["seq"]
    ours, theirs, peaks = [], [], []
    for _ in range(runs):
        _, peak, _, err = coppice(model, work, s["rows"], s["seq"], {"ffn_hidden_size": s["ffn"] // 2})
        ours.append(tokens / seconds(err))
        _, other, out, _ = run([
            sys.executable, ROOT / "Benchmarks/torch_calibrate.py", model, DATA, "--rows", s["rows"], "--seq-length",
            s["seq"]])
        theirs.append(json.loads(out.splitlines()[-1])["tokens_per_second"])
        peaks.append((peak, other))
    inner = s["heads"] * s["head_dim"]
    weights = s["layers"] * (s["hidden"] * (2 * inner + 2 * s["kv_heads"] * s["head_dim"]) + 3 * s["hidden"] * s["ffn"])
    operations = 2 * weights + 2 * s["layers"] * inner * (s["seq"] + 1)  # a token: weights, causal attention
    return {
        "coppice_tokens_per_second": statistics.median(ours), "pytorch_tokens_per_second": statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs)),
        "useful_gflops": statistics.median(ours) * operations / 1e9,
        "peak_mib": statistics.median(p[0] for p in peaks), "pytorch_peak_mib": statistics.median(p[1] for p in peaks),
    }


def fixture(runs, work):
    """From process start to the pruned checkpoint on disk: 128 rows of 256 tokens."""
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(coppice(ROOT / "Examples/model", work, 128, 256, {"num_layers": 6, "ffn_hidden_size": 256})[0])
        subprocess.run(["rm", "-rf", f"{work}/torch"], check=True)
        theirs.append(run([
            sys.executable, ROOT / "Benchmarks/torch_calibrate.py", ROOT / "Examples/model", DATA, "--rows", 128,
            "--seq-length", 256, "--export", f"{work}/torch"])[0])
    return {"coppice_seconds": statistics.median(ours), "pytorch_seconds": statistics.median(theirs),
            "ratio": statistics.median(b / a for a, b in zip(ours, theirs))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="fixture,107M")
    a = parser.parse_args()
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    results = {"date": datetime.date.today().isoformat(), "cpu": cpu[1] if cpu else "?", "cores": os.cpu_count(),
               "runs": a.runs, "ceiling_gflops": ceiling()}
    with tempfile.TemporaryDirectory() as work:
        for name in a.only.split(","):
            results[name] = fixture(a.runs, work) if name == "fixture" else shape(name, SHAPES[name], a.runs, work)
            if "useful_gflops" in results[name]:
                results[name]["share_of_ceiling"] = results[name]["useful_gflops"] / results["ceiling_gflops"]
            print(name, json.dumps(results[name], indent=2), flush=True)
    folder = ROOT / "Benchmarks/results"
    folder.mkdir(exist_ok=True)
    path = folder / f"calibration-{results['date']}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"kept in {path.relative_to(ROOT)}; {results['cpu']}, {results['cores']} cores, "
          f"ceiling {results['ceiling_gflops']:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
