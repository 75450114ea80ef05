"""A model larger than memory is to be: Qwen3-8B's shape, 16 GB of bfloat16, pruned by hand in little memory.

    python Benchmarks/large.py [--runs 5] [--limit_gib 4] [--layers 36 --hidden 4096 …] [--quick] [--work DIR]

16 rows of 512 tokens; {"ffn_hidden_size": 9216, "hidden_size": 3584, "num_layers": 32}. Each round measures, with the
page cache emptied of the files before: reading the checkpoint once, writing as much as the result holds and syncing
it, and the pruning itself from process start to end, inside a control group with a memory limit where one can be
made (page cache counts in there). The products' time is the useful operations over this machine's ceiling. Wants 30 GB
of disk: 16 for the checkpoint, twice 11 for the result, one after the other.
"""

import contextlib
import os
import pathlib
import shutil
import time

import contestants
import measure
from contestants import TINY
from measure import column, spread, times

SHAPE = dict(hidden=4096, layers=36, ffn=12288, heads=32, kv_heads=8, head_dim=128, vocab=151936, tied=False, seq=512,
             rows=16)
BLOCK = 8 << 20
WANTED = {"ratio": 1.25, "peak_mib": 3 * 1024}


def forget(path):
    """Asks the system to drop a file from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def files(folder):
    return sorted(path for path in pathlib.Path(folder).iterdir() if path.is_file())


def read_once(folder):
    """Seconds to read every file once, front to back, from disk."""
    for path in files(folder):
        forget(path)
    buffer = bytearray(BLOCK)
    start = time.perf_counter()
    for path in files(folder):
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def write_once(path, size):
    """Seconds to write so many bytes and to have them on disk."""
    block = os.urandom(BLOCK)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, size, BLOCK):
            file.write(memoryview(block)[:min(BLOCK, size - at)])
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


class Group:
    """A control group with a memory limit, for one process: below our own, whose limits stay in force."""

    def __init__(self, folder, limit):
        self.folder, self.version = folder, 1 if (folder.parent / "memory.limit_in_bytes").exists() else 2
        folder.mkdir()
        if self.version == 1:
            self.put("memory.limit_in_bytes", limit)
            self.put("memory.memsw.limit_in_bytes", limit, optional=True)
        else:
            self.put("memory.max", limit)
            self.put("memory.swap.max", 0, optional=True)

    def put(self, name, value, optional=False):
        with contextlib.suppress(OSError) if optional else contextlib.nullcontext():
            (self.folder / name).write_text(str(value))

    def wrap(self, command):
        """The command, entering the group before it begins."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', self.folder / "cgroup.procs", *command]

    def read(self):
        """Most memory in use, page cache included, and how often the limit had to be enforced."""
        if self.version == 1:
            peak, hits = (int((self.folder / name).read_text()) for name in
                          ("memory.max_usage_in_bytes", "memory.failcnt"))
        else:
            file = self.folder / "memory.peak"
            peak = int(file.read_text()) if file.exists() else 0
            events = dict(line.split() for line in (self.folder / "memory.events").read_text().splitlines())
            hits = int(events["max"])
        return {"group_peak_mib": peak / 2**20, "limit_hits": hits}

    def remove(self):
        for _ in range(50):
            with contextlib.suppress(OSError):
                return self.folder.rmdir()
            time.sleep(0.1)


def group_folder():
    """Where a group of ours can be made, or None with a message why not."""
    name = f"coppice-large-{os.getpid()}"
    lines = [line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
    own = {controllers: path.lstrip("/") for _, controllers, path in lines}
    candidates = [pathlib.Path("/sys/fs/cgroup/memory") / path / name
                  for controllers, path in own.items() if "memory" in controllers.split(",")]
    # In the second version a group with processes has no groups with limits below it: beside our own, then.
    if "" in own:
        candidates.append((pathlib.Path("/sys/fs/cgroup") / own[""]).parent / name if own[""]
                          else pathlib.Path("/sys/fs/cgroup") / name)
    if os.geteuid():
        measure.say("no control group: only root can make one; memory is measured, but not limited")
        return None
    for folder in candidates:
        parent = folder.parent
        control = parent / "cgroup.subtree_control"
        if (parent / "memory.limit_in_bytes").exists() or (
                control.exists() and "memory" in control.read_text().split()):
            if os.access(parent, os.W_OK):
                return folder
    measure.say("no control group: none with a memory controller can be made here; memory is not limited")
    return None


def prune(model, work, text, s, limit):
    """One pruning from a cold cache, limited where that can be."""
    for path in files(model):
        forget(path)
    rows, config = (s["rows"], s["seq"]), s["config"]
    folder = group_folder() if limit else None
    group = Group(folder, limit) if folder else None
    try:
        found = contestants.prune(model, work, text, *rows, config, wrap=group.wrap if group else lambda words: words)
        found.update(group.read() if group else {})
    finally:
        if group:
            group.remove()
    # What the program leaves for the system to write is part of the price.
    start = time.perf_counter()
    for path in files(work / "pruned"):
        forget(path)
    found["sync"] = time.perf_counter() - start
    found["bytes"] = sum(path.stat().st_size for path in files(work / "pruned"))
    return found


def rounds_of(arguments, work, s):
    """Every round: the pruning, and beside it what it cannot do without."""
    model = contestants.checkpoint(work / "model", s)
    text = contestants.long_text(work / "text.jsonl", s["rows"], s["seq"])
    limit = int(arguments.limit_gib * 2**30)
    size = {}

    def ours():
        found = prune(model, work, text, s, limit)
        shutil.rmtree(work / "pruned")
        size["result"] = found["bytes"]
        return found

    def floor():
        return {"read": read_once(model), "write": write_once(work / "written", size["result"])}

    # The result's size has to be known first: the order stays the same in every round.
    found = {"coppice": [], "floor": []}
    for number in range(arguments.runs):
        measure.say(f"  round {number + 1} of {arguments.runs}")
        found["coppice"].append(ours())
        found["floor"].append(floor())
    return found


def main():
    options = measure.parser(__doc__)
    for name in ("hidden", "layers", "ffn", "heads", "kv_heads", "head_dim", "vocab", "seq", "rows"):
        options.add_argument(f"--{name}", type=int, help=f"(default: {SHAPE[name]})")
    options.add_argument("--limit_gib", type=float, default=4, help="memory of the control group; 0 for none")
    arguments = measure.parse(options)
    base = TINY if arguments.quick else SHAPE
    s = {**base, **{name: getattr(arguments, name) for name in base if getattr(arguments, name, None) is not None}}
    # Three quarters of the MLP, seven eighths of the channels, eight ninths of the layers.
    s["config"] = {"ffn_hidden_size": s["ffn"] * 3 // 4, "hidden_size": s["hidden"] * 7 // 8,
                   "num_layers": max(1, s["layers"] * 8 // 9)}
    shapes = contestants.products(s, tokens=2048)
    dtype = contestants.own_type()
    before = measure.ceiling(shapes, dtype, arguments.quick)
    with measure.workplace(arguments) as work:
        found = rounds_of(arguments, work, s)
    ceiling = measure.higher(before, measure.ceiling(shapes, dtype, arguments.quick))
    products = contestants.operations(s) * s["rows"] * s["seq"] / ceiling["gflops"] / 1e9
    sums = [floor["read"] + products + floor["write"] for floor in found["floor"]]
    ratio = measure.ratios(column(found["coppice"], "wall"), sums)
    synced = measure.ratios([one["wall"] + one["sync"] for one in found["coppice"]], sums)
    results = {
        "shape": s, "limit_gib": arguments.limit_gib, "wanted": WANTED,
        "seconds": {name: spread(column(found["coppice"], name)) for name in ("wall", "seconds", "sync")},
        "floor_seconds": {"read": spread(column(found["floor"], "read")), "products": products,
                          "write": spread(column(found["floor"], "write")), "sum": spread(sums)},
        "ratio": ratio, "ratio_with_sync": synced, "peak_mib": spread(column(found["coppice"], "peak_mib")),
        "ceiling": ceiling, "rounds": found,
    }
    wall, floor = results["seconds"], results["floor_seconds"]
    print(f"wall {wall['wall']['median']:.1f} s (calibration {wall['seconds']['median']:.1f} s, and "
          f"{wall['sync']['median']:.1f} s to sync afterwards); peak {results['peak_mib']['max']:,.0f} MiB, wanted "
          f"below {WANTED['peak_mib']:,}")
    print(f"  read {floor['read']['median']:.1f} s + products {products:.1f} s at {ceiling['gflops']:.0f} GFLOP/s + "
          f"write {floor['write']['median']:.1f} s = {floor['sum']['median']:.1f} s")
    print(f"  {times(ratio)} that sum, wanted {WANTED['ratio']}; {times(synced)} with the syncing")
    if "group_peak_mib" in found["coppice"][0]:
        print(f"  in a group of {arguments.limit_gib} GiB: {max(column(found['coppice'], 'group_peak_mib')):,.0f} MiB "
              f"with page cache, limit enforced {max(column(found['coppice'], 'limit_hits'))} times")
    # The system's own threads read ahead and write to disk meanwhile: they count as somebody else.
    measure.finish("large", results, arguments, alone=0.3)


if __name__ == "__main__":
    main()
