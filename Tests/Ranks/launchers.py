"""The same short run, started by each launcher that people have: all make what one process makes."""

import os
import shutil
import sys

from processes import ROOT, Skipped, check, digest, prune

TORCHRUN = ROOT / ".deps/venv/bin/torchrun"


def alone(case):
    """What one process makes of the short run."""
    process = case.start(prune(case, "alone/out"))
    check(case.wait(process) == 0, case.error(process))
    return digest(case.path / "alone/out")


def own_launcher(case):
    expected = alone(case)
    for more in (["--nproc", "2"], ["--pp_size", "3"], ["--pp_size", "2", "--nproc", "4"]):
        output = "-".join(more).strip("-") + "/out"
        process = case.start(prune(case, output, *more))
        check(case.wait(process) == 0, case.error(process))
        check(digest(case.path / output) == expected, f"{more}: another result than that of one process")
        check("rank 1:" not in case.error(process), case.error(process))
    process = case.start(prune(case, "odd", "--nproc", "3", "--pp_size", "2"))
    check(case.wait(process) == 64 and "multiple" in case.error(process), case.error(process))


def torchrun(case):
    check(TORCHRUN.exists(), "run Scripts/setup --tests first")
    expected = alone(case)
    command = [TORCHRUN, "--standalone", "--nproc_per_node", 2]
    process = case.start([*command, "--no-python", *prune(case, "direct/out", "--pp_size", 2)])
    check(case.wait(process, 90) == 0, case.error(process))
    check(digest(case.path / "direct/out") == expected, "another result than that of one process")
    # The reference's script, as the wheel has it: a few lines of Python that become the program.
    script = case.path / "prune_minitron.py"
    script.write_text(f"import os, sys\nos.execv({str(case.options.binary)!r}, ['prune_minitron', *sys.argv[1:]])\n")
    process = case.start([sys.executable, script, *prune(case, "single/out")[2:]])
    check(case.wait(process) == 0, case.error(process))
    process = case.start([*command, script, *prune(case, "script/out", "--pp_size", 2)[2:]])
    check(case.wait(process, 90) == 0, case.error(process))
    check(digest(case.path / "script/out") == digest(case.path / "single/out"), "another result than that of one process")


def mpi(case, launcher, *more):
    program = shutil.which(launcher)
    if not program:
        raise Skipped(f"{launcher} is not installed")
    expected = alone(case)
    process = case.start([program, *more, *prune(case, "ranks/out", "--pp_size", 2)], OMPI_MCA_btl="self,tcp", PRTE_ALLOW_RUN_AS_ROOT="1")
    check(case.wait(process) == 0, case.error(process))
    check(digest(case.path / "ranks/out") == expected, "another result than that of one process")


def open_mpi(case):
    mpi(case, "mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-np", 2)


def hydra(case):
    mpi(case, "mpiexec.hydra", "-n", 2)


def slurm(case):
    expected = alone(case)
    processes = [
        case.start(
            prune(case, "ranks/out", "--pp_size", 2), SLURM_PROCID=str(rank), SLURM_NTASKS="2", SLURM_STEP_NUM_TASKS="2",
            SLURM_LOCALID="0", SLURM_NODEID=str(rank), SLURM_STEP_ID="0", SLURM_JOB_ID=str(os.getpid()),
            SLURM_STEP_TASKS_PER_NODE="1(x2)", SLURM_STEP_NODELIST="127.0.0.[2-3]", COPPICE_ADDRESS=f"127.0.0.{rank + 2}",
            COPPICE_HOST=f"node{rank}")
        for rank in range(2)]
    for process in processes:
        check(case.wait(process) == 0, case.error(process))
    check(digest(case.path / "ranks/out") == expected, "another result than that of one process")
    # A batch script that starts the program without srun has most of these variables.
    process = case.start(
        prune(case, "script"), SLURM_PROCID="0", SLURM_NTASKS="4", SLURM_LOCALID="0", SLURM_JOB_ID="7",
        SLURM_TASKS_PER_NODE="4", SLURM_JOB_NODELIST="elsewhere")
    check(case.wait(process) == 0, case.error(process))


LAUNCHERS = [own_launcher, torchrun, open_mpi, hydra, slurm]
