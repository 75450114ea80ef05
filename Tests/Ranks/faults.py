#!/usr/bin/env python3
"""Runs of several processes, by every launcher that is here, and what becomes of them when one of them ends, stops, differs
or does not come. Everything on this machine, within a minute; needs no network.

    python Tests/Ranks/faults.py --binary .build/release/coppice --bench .build/release/rank-bench [CASE]...

Cases run side by side: some of them wait fifteen seconds for a rank that does not answer.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import traceback

from launchers import LAUNCHERS, TORCHRUN
from processes import ROOT, Case, Failure, Skipped, check, one_error, prune, wait_for

LIMIT = 30  # Seconds within which all ranks end.


def ends(case, processes, since):
    """All end by themselves, in time and with code 1; gives what they say."""
    texts = []
    for process in processes:
        code = case.wait(process, LIMIT + 5)
        check(time.monotonic() - since < LIMIT, f"{process.name} took {time.monotonic() - since:.1f} s")
        check(code == 1, f"{process.name} ended with {code}:\n{case.error(process)}")
        texts.append(one_error(case.error(process)))
    return texts


# Faults ----------------------------------------------------------------------------------------------------------------------


def by_hand(case, size, *words, **more):
    """Ranks of rank-bench on as many "machines", at addresses of the loopback."""
    port = 20000 + os.getpid() * 7 % 9000 + by_hand.count
    by_hand.count += 1
    variables = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.2", "MASTER_PORT": str(port)} | more
    return [
        case.start(
            [case.options.bench, *words],
            **({"RANK": str(rank), "COPPICE_HOST": f"node{rank}", "COPPICE_ADDRESS": f"127.0.0.{rank + 2}"} | variables))
        for rank in range(size)]


by_hand.count = 0


def met(case, process):
    wait_for("met", case.path / f"{process.name}.out")


def killed(case):
    for victim in (2, 0):
        processes = by_hand(case, 3, "idle", 100)
        met(case, processes[0])
        start = time.monotonic()
        processes[victim].kill()
        texts = ends(case, [p for p in processes if p != processes[victim]], start)
        for text in texts:
            check(f"rank {victim} (process {processes[victim].pid} on node{victim})" in text, text)
        check(time.monotonic() - start < 10, "a process that is gone on the same machine is seen at once")


def stopped(case):
    processes = by_hand(case, 3, "ring", 100)
    met(case, processes[0])
    time.sleep(0.5)
    start = time.monotonic()
    processes[1].send_signal(signal.SIGSTOP)
    for text in ends(case, [processes[0], processes[2]], start):
        check("rank 1 (" in text and "has not answered" in text and "SIGSTOP" in text, text)
    processes[1].send_signal(signal.SIGCONT)
    check("was stopped for" in ends(case, [processes[1]], time.monotonic())[0], "the one that was stopped says so")


def first_stopped(case):
    """Rank 0 serves the store: the others' questions are not answered any more."""
    processes = by_hand(case, 3, "ring", 100)
    met(case, processes[0])
    time.sleep(0.5)
    start = time.monotonic()
    processes[0].send_signal(signal.SIGSTOP)
    for text in ends(case, processes[1:], start):
        check("rank 0 (" in text and "SIGSTOP" in text, text)
    processes[0].kill()


def signalled(case):
    """One rank gets a signal that people send."""
    processes = by_hand(case, 3, "ring", 100)
    met(case, processes[0])
    start = time.monotonic()
    processes[1].send_signal(signal.SIGTERM)
    check(case.wait(processes[1], 10) == -signal.SIGTERM, "the rank ends by the signal")
    check("Error" not in case.error(processes[1]), case.error(processes[1]))
    for text in ends(case, [processes[0], processes[2]], start):
        check("rank 1 (" in text and "was ended by SIGTERM" in text, text)


def agent_killed(case):
    """torchrun serves the store; nobody else ends its processes when it is killed."""
    check(TORCHRUN.exists(), "run Scripts/setup --tests first")
    process = case.start([TORCHRUN, "--standalone", "--nproc_per_node", 2, "--no-python", case.options.bench, "ring", 100])
    met(case, process)
    process.kill()
    case.wait(process)
    start = time.monotonic()
    while case.processes():
        check(time.monotonic() - start < LIMIT, "the ranks go on without torchrun")
        time.sleep(0.1)
    lines = [line for line in case.error(process).splitlines() if "Error: " in line]
    check(lines and all("the launcher's store at" in line for line in lines), case.error(process))


def failing(case):
    for victim in (0, 1):
        start = time.monotonic()
        processes = by_hand(case, 3, "fail", victim)
        for rank, text in enumerate(ends(case, processes, start)):
            check("no paper in the printer" in text, text)
            check(rank == victim or f"rank {victim} (" in text, text)


def missing(case):
    start = time.monotonic()
    first, second, third = (
        case.start([case.options.bench, "idle", 1], RANK=str(rank), WORLD_SIZE="4", COPPICE_JOIN_TIMEOUT="10")
        for rank in (0, 1, 3))
    for text in ends(case, [first, second, third], start):
        check("rank 2 of 4 did not come within 10 seconds" in text, text)


def different(case):
    start = time.monotonic()
    processes = [
        case.start(prune(case, "out", "--pp_size", 2, "--seed", seed), RANK=str(rank), WORLD_SIZE="2")
        for rank, seed in enumerate((1, 2))]
    for text in ends(case, processes, start):
        check("the ranks differ" in text and "rank 0" in text and "rank 1" in text, text)
    check(not (case.path / "out").exists(), "there is an output")


def other_weights(case):
    """The same names and shapes in another machine's copy, as of a model that was trained on."""
    for rank in (0, 1):
        model = case.path / f"machine{rank}/model"
        shutil.copytree(ROOT / "Examples/model", model)
        if rank == 1:
            weights = bytearray((model / "model.safetensors").read_bytes())
            start = 8 + int.from_bytes(weights[:8], "little")
            weights[start:] = bytes(byte ^ 1 for byte in weights[start:])
            (model / "model.safetensors").write_bytes(weights)
    start = time.monotonic()
    command = prune(case, "out", "--pp_size", 2, model="model")
    processes = [
        case.start(command, folder=f"machine{rank}", RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    for text in ends(case, processes, start):
        check("the ranks differ: model is" in text, text)
    check(not (case.path / "out").exists(), "there is an output")


def channels(case):
    """States from GPU to GPU, with a library in NCCL's place whose GPUs are the CPU."""
    library = case.path / "libnccl.so.2"
    subprocess.run([shutil.which("cc") or "clang", "-shared", "-fPIC", "-O1", "-o", library, ROOT / "Tests/Ranks/nccl.c"], check=True)

    def said(*more, nccl=library, versions=(22707, 22707, 22707)):
        processes = [
            case.start(
                [case.options.bench, "channels", 50, *more], RANK=str(rank), WORLD_SIZE="3", COPPICE_NCCL=str(nccl),
                TEST_NCCL_VERSION=str(version))
            for rank, version in enumerate(versions)]
        for process in processes:
            check(case.wait(process) == 0, case.error(process))
        return case.output(processes[0]).splitlines()[0]

    found = [
        said(), said("0000:3b:00.0"), said(nccl="off"), said(nccl=case.path / "none.so"),
        said(versions=(22707, 22707, 22304))]
    expected = [
        "2 by NCCL 2.27.7: all", "0 by NCCL none: ranks 0 and 1 share a GPU", "0 by NCCL none: on rank 0 COPPICE_NCCL is off",
        "0 by NCCL none: on rank 0 cannot open NCCL", "1 by NCCL 2.27.7: NCCL is 2.27.7 on rank 1 and 2.23.4 on rank 2"]
    for text, beginning in zip(found, expected):
        check(text.startswith(beginning), text)
    processes = [
        case.start([case.options.bench, "channels", 10**9], RANK=str(rank), WORLD_SIZE="3", COPPICE_NCCL=str(library))
        for rank in range(3)]
    met(case, processes[0])
    start = time.monotonic()
    processes[1].kill()
    processes[1].wait()
    for text in ends(case, [processes[0], processes[2]], start):
        check("rank 1 (" in text, text)


def long_run(case, *more):
    """A run that would take minutes, when it has begun."""
    text = case.path / "long.jsonl"
    # The bundled text gives 159 rows, which are done in a second.
    if not text.exists():
        text.write_bytes((ROOT / "Examples/data/calib.jsonl").read_bytes() * 20)
    process = case.start(prune(case, "out", *more, rows=3000, length=512, text=text))
    end = time.monotonic() + 40
    # The first note is said when all ranks have met.
    while not case.error(process):
        check(time.monotonic() < end and process.poll() is None, f"the run does not begin: {case.output(process)}")
        time.sleep(0.05)
    time.sleep(0.5)
    return process


def own_killed(case):
    for victim in (1, 0):
        process = long_run(case, "--nproc", 2)
        number = case.rank(victim)
        start = time.monotonic()
        os.kill(number, signal.SIGKILL)
        text = ends(case, [process], start)[0]
        check(f"rank {victim} (process {number}" in text and "SIGKILL" in text, text)
        check(time.monotonic() - start < 15, "the end of a process is seen at once")
        check(not (case.path / "out").exists(), "there is an output")


def own_killed_early(case):
    """A rank that is gone before all have met."""
    process = case.start(prune(case, "out", "--nproc", 3))
    number = case.rank(1)
    start = time.monotonic()
    os.kill(number, signal.SIGKILL)
    text = ends(case, [process], start)[0]
    check("rank 1 " in text and "SIGKILL" in text, text)


def all_stopped(case):
    """All ranks are stopped for longer than a rank may be silent, and go on together."""
    processes = by_hand(case, 3, "ring", 25)
    met(case, processes[0])
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in processes:
            process.send_signal(number)
        time.sleep(18 if number == signal.SIGSTOP else 0)
    for process in processes:
        check(case.wait(process) == 0, case.error(process))


def own_stopped(case):
    process = long_run(case, "--nproc", 2)
    number = case.rank(1)
    start = time.monotonic()
    os.kill(number, signal.SIGSTOP)
    text = ends(case, [process], start)[0]
    check(f"rank 1 (process {number}" in text and "SIGSTOP" in text, text)


def own_interrupted(case):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = long_run(case, "--nproc", 3)
        process.send_signal(number)
        code = case.wait(process, 30)
        check(code == -number, f"ended with {code}, not by the signal:\n{case.error(process)}")
        check("Error" not in case.error(process), case.error(process))


def own_launcher_killed(case):
    process = long_run(case, "--nproc", 3)
    process.kill()
    case.wait(process)
    # That none is left is seen at the end of every case.


def several_at_once(case):
    """Jobs of one machine that need no port do not meet."""
    runs = []
    for job in range(3):
        runs += [
            case.start(
                [case.options.bench, "ring", 1], OMPI_COMM_WORLD_RANK=str(rank), OMPI_COMM_WORLD_SIZE="2",
                OMPI_COMM_WORLD_LOCAL_RANK=str(rank), OMPI_COMM_WORLD_LOCAL_SIZE="2", PMIX_NAMESPACE=str(1000 + job))
            for rank in range(2)]
    for process in runs:
        check(case.wait(process) == 0, case.error(process))


def cut_link(case):
    """Two network name spaces with a link between them, which is taken down."""
    ip = shutil.which("ip")
    if not ip or os.geteuid() != 0:
        raise Skipped("no network name spaces may be made here")
    names = [f"coppice{os.getpid()}{side}" for side in "ab"]

    def run(*words):
        done = subprocess.run([ip, *words], capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f"ip {' '.join(words)}: {done.stderr.strip()}")

    try:
        for name in names:
            run("netns", "add", name)
        run("link", "add", "cop0", "netns", names[0], "type", "veth", "peer", "name", "cop1", "netns", names[1])
        for side, name in enumerate(names):
            run("-n", name, "addr", "add", f"10.77.0.{side + 1}/24", "dev", f"cop{side}")
            run("-n", name, "link", "set", f"cop{side}", "up")
            run("-n", name, "link", "set", "lo", "up")
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "4000", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}

        def start(*words):
            return [
                case.start(
                    [ip, "netns", "exec", name, case.options.bench, *words], RANK=str(rank), COPPICE_HOST=f"host{rank}",
                    **variables) for rank, name in enumerate(names)]

        whole = start("ring", 1)
        for process in whole:
            check(case.wait(process) == 0, case.error(process))
        processes = start("ring", 100)
        met(case, processes[0])
        time.sleep(0.5)
        since = time.monotonic()
        run("-n", names[0], "link", "set", "cop0", "down")
        texts = ends(case, processes, since)
        for rank, text in enumerate(texts):
            check(f"rank {1 - rank} (" in text and f"host{1 - rank}" in text, text)
    finally:
        for name in names:
            subprocess.run([ip, "netns", "delete", name], capture_output=True)


CASES = [
    all_stopped, stopped, first_stopped, own_stopped, cut_link, own_killed, own_killed_early, own_interrupted, own_launcher_killed, killed,
    signalled, agent_killed, failing, missing, different, other_weights, channels, several_at_once, *LAUNCHERS]


def run(function, options):
    case = Case(function.__name__, options)
    start = time.monotonic()
    try:
        function(case)
        case.finish()
        return function.__name__, "passed", f"{time.monotonic() - start:.1f} s"
    except Skipped as reason:
        return function.__name__, "skipped", str(reason)
    except Failure as reason:
        return function.__name__, "failed", str(reason)
    except Exception:
        return function.__name__, "failed", traceback.format_exc()
    finally:
        case.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/release/coppice")
    parser.add_argument("--bench", type=pathlib.Path, default=ROOT / ".build/release/rank-bench")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    options.binary, options.bench = options.binary.resolve(), options.bench.resolve()
    chosen = [case for case in CASES if not options.cases or case.__name__ in options.cases]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, result, text in pool.map(lambda case: run(case, options), chosen):
            print(f"{result:8} {name}: {text}", flush=True)
            failed += result == "failed"
    print(f"{len(chosen) - failed} of {len(chosen)} cases as they should be")
    sys.exit(1 if failed else 0)


main()
