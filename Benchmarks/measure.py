"""What every benchmark here shares: running commands, alternating contestants, this machine's ceiling, kept results.

Standard library alone, and no large objects: what a child is said to have held at its peak includes this process at
the moment of the fork.
"""

import argparse
import collections
import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "Benchmarks/results"

# `others`: cores that something else kept busy meanwhile, on average.
Run = collections.namedtuple("Run", "wall peak_mib others stdout stderr")
disturbances = []  # of every run long enough to tell
# What makes a lesser processor of this one, or another number of threads, for both sides alike.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "COPPICE_KERNELS",
          "OMP_NUM_THREADS")


def run(command, threads=None):
    """Wall seconds, peak resident MiB, disturbance, standard output and error of a command that has to succeed."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads)) if threads else None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start, busy = time.perf_counter(), busy_seconds()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall, busy = time.perf_counter() - start, busy_seconds() - busy
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        texts = out.read().decode(), err.read().decode()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: ended with {process.returncode}\n{texts[1][-2000:]}")
    others = max(0.0, busy - usage.ru_utime - usage.ru_stime) / wall
    if wall > 0.5:
        disturbances.append(others)
    if others > 0.1 and wall > 0.5:
        say(f"  {pathlib.Path(str(command[0])).name}: {others:.2f} cores were busy with something else meanwhile")
    return Run(wall, usage.ru_maxrss / 1024, others, *texts)


def busy_seconds():
    """Processor seconds that this machine has worked, or was kept from working by its host, so far."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def alternating(runs, contestants):
    """What each contestant returned in each round: {name: [first round, second, …]}.

    Every round calls each once; who begins moves on from round to round, so that nobody always runs after the same one.
    """
    names, found = list(contestants), {name: [] for name in contestants}
    for number in range(runs):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            say(f"  round {number + 1} of {runs}: {name}")
            found[name].append(contestants[name]())
    return found


def say(text):
    """Progress, which is no result: standard error."""
    print(text, file=sys.stderr, flush=True)


def column(values, key):
    """One figure of each round."""
    return [value[key] for value in values]


def spread(values):
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(above, below):
    """The spread of the ratio within each round: what slows a machine for a while slows both sides of it."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def times(ratio):
    """A ratio's spread as text."""
    return f"{ratio['median']:.2f} times ({ratio['min']:.2f} to {ratio['max']:.2f})"


def exponent(sizes, values):
    """The k of the power law value ~ size^k that fits best: least squares on logarithms."""
    return slope([math.log(size) for size in sizes], [math.log(value) for value in values])


def slope(sizes, values):
    """The slope of the line that fits best."""
    x, y = statistics.fmean(sizes), statistics.fmean(values)
    return sum((a - x) * (b - y) for a, b in zip(sizes, values, strict=True)) / sum((a - x) ** 2 for a in sizes)


def hardware():
    """What the figures were measured on."""
    def first(pattern, path):
        found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
        return found[1].strip() if found else "?"

    flags = first(r"^flags\s*:(.*)", "/proc/cpuinfo").split()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": first(r"^model name\s*:(.*)", "/proc/cpuinfo"), "family": first(r"^cpu family\s*:(.*)", "/proc/cpuinfo"),
        "model": first(r"^model\s*:(.*)", "/proc/cpuinfo"), "flags": [flag for flag in wanted if flag in flags],
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ}, "cores": cores(),
        "memory_mib": int(first(r"^MemTotal:\s*(\d+)", "/proc/meminfo")) // 1024,
        "kernel": os.uname().release, "python": sys.version.split()[0],
        "torch": version("torch"), "transformers": version("transformers"),
    }


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def cores():
    return len(os.sched_getaffinity(0))


def ceiling(shapes, dtype, quick=False):
    """This machine's matrix products in a type: {"gflops": the best of all, "shapes": {…: best and median}}.

    `shapes` are (tokens, inputs, outputs) of products that matter. Measure it before and after what is compared with
    it, and let `higher` choose: a machine that was slowed in between must not flatter anyone.
    """
    texts = ["x".join(map(str, shape)) for shape in dict.fromkeys(shapes)]
    found = run(
        [sys.executable, ROOT / "Benchmarks/torch_ceiling.py", *texts, "--dtype", dtype, "--seconds",
         0.05 if quick else 1.5],
        threads=cores())
    return json.loads(found.stdout.splitlines()[-1])


def higher(before, after):
    """The higher of two ceilings, with both on record."""
    best = max(before, after, key=lambda found: found["gflops"])
    return {**best, "before_gflops": before["gflops"], "after_gflops": after["gflops"]}


def keep(name, results, folder=RESULTS):
    """Writes a dated file of results with the hardware and says where. Never over one that is there."""
    date = datetime.date.today().isoformat()
    text = json.dumps({"benchmark": name, "date": date, "hardware": hardware(), **rounded(results)}, indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder / (f"{name}-{date}.json" if number == 1 else f"{name}-{date}-{number}.json")
        try:
            with open(path, "x") as file:
                file.write(text)
            break
        except FileExistsError:
            number += 1
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    machine = hardware()
    print(f"kept in {shown}: {machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}", flush=True)


def rounded(value):
    """Six significant digits: no more was measured."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def finish(name, results, arguments, alone=0.1):
    """Keeps the results, unless they are a smoke test's. More than `alone` cores busy with something else spoil them."""
    if disturbances:
        others = spread(disturbances)
        results = {"others": others, **results}
        if others["max"] > alone:
            print(f"NOT ALONE: up to {others['max']:.2f} cores were busy with something else (median "
                  f"{others['median']:.2f}). PyTorch's threads spin while they wait, and suffer most: do not quote.")
    results = {"runs": arguments.runs, **results}
    if arguments.quick:
        print(f"{name}: a smoke test on tiny shapes, not kept")
    else:
        keep(name, results)


def parser(doc, runs=5):
    """Options that all benchmarks have."""
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--runs", type=int, help=f"alternating runs (default: {runs}; 1 with --quick)")
    options.add_argument("--quick", action="store_true", help="a smoke test: tiny shapes, nothing is kept")
    options.add_argument("--work", type=pathlib.Path, default=ROOT / "out",
                         help="where a folder for checkpoints is made, and removed at the end (default: out)")
    options.set_defaults(default_runs=runs)
    return options


def parse(options):
    arguments = options.parse_args()
    if arguments.runs is None:
        arguments.runs = 1 if arguments.quick else arguments.default_runs
    if arguments.runs < 1:
        options.error("--runs wants one at least")
    return arguments


@contextlib.contextmanager
def workplace(arguments):
    """A folder that is gone afterwards, on the disk of --work."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.work.resolve()) as folder:
        yield pathlib.Path(folder)
