"""Runs of several processes: started by hand or by a launcher, watched, and looked for afterwards."""

import hashlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Failure(Exception):
    """A case found something else than it should."""


class Skipped(Exception):
    """There is no such thing here."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    check(files, f"{folder} is empty")
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


class Case:
    """One run with a temporary directory of its own, and a mark in the environment of all its processes."""

    def __init__(self, name, options):
        self.name, self.options = name, options
        self.mark = f"COPPICE_TEST_MARK={uuid.uuid4().hex}"
        self.folder = tempfile.TemporaryDirectory(prefix="coppice-ranks-")
        self.path = pathlib.Path(self.folder.name)
        (self.path / "tmp").mkdir()
        self.started = []

    def environment(self, more):
        # Nothing of a launcher that this was started by itself.
        known = ("RANK", "WORLD_", "LOCAL_", "MASTER_", "OMPI_", "PMI", "SLURM_", "TORCHELASTIC", "GLOO_")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(known) and not k.startswith("COPPICE_RANK")}
        name, value = self.mark.split("=")
        return variables | {
            name: value, "TMPDIR": str(self.path / "tmp"), "COPPICE_CACHE": str(self.path / "cache"), "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1", "HF_HOME": str(self.path / "hub"), "SWIFT_BACKTRACE": "enable=no"} | more

    def start(self, command, folder=".", **more):
        name = f"process{len(self.started)}"
        with open(self.path / f"{name}.out", "wb") as out, open(self.path / f"{name}.err", "wb") as err:
            process = subprocess.Popen(
                [str(word) for word in command], env=self.environment(more), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=self.path / folder)
        process.name = name
        self.started.append(process)
        return process

    def wait(self, process, seconds=60):
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{process.name} still runs after {seconds} s\n{self.error(process)}") from None

    def output(self, process):
        return (self.path / f"{process.name}.out").read_text(errors="replace")

    def error(self, process):
        return (self.path / f"{process.name}.err").read_text(errors="replace")

    def processes(self):
        """The numbers of all living processes with the mark, by their ranks where they have one."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if self.mark.encode() in variables and state not in "ZX":
                ranks = [v.split(b"=")[1] for v in variables if v.startswith((b"COPPICE_RANK=", b"RANK="))]
                found[int(entry.name)] = int(ranks[-1]) if ranks else None
        return found

    def rank(self, number, seconds=20):
        """The process of a rank."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for process, rank in self.processes().items():
                if rank == number:
                    return process
            time.sleep(0.05)
        raise Failure(f"there is no process of rank {number}")

    def finish(self):
        """Nothing is left: no process, and no file in the temporary directory."""
        end = time.monotonic() + 5
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        left = self.processes()
        check(not left, f"processes are left: {left}")
        files = [str(path.relative_to(self.path)) for path in (self.path / "tmp").rglob("*")]
        # torchrun's own.
        files = [name for name in files if "torchelastic" not in name and "ompi." not in name and "pmix" not in name]
        check(not files, f"temporary files are left: {files}")

    def close(self):
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.folder.cleanup()


def prune(case, output, *more, rows=4, length=64, model=ROOT / "Examples/model", text=ROOT / "Examples/data/calib.jsonl"):
    """The command line of a short run on the bundled model."""
    return [
        case.options.binary, "prune", "--hf_model_name_or_path", model, "--output_hf_path", case.path / output,
        "--calib_dataset_name", text, "--seq_length", length, "--calib_num_samples", rows,
        "--prune_export_config", '{"num_layers": 2}', *more]


def wait_for(text, path, seconds=30):
    """Waits until a file has a text in it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and text in path.read_text(errors="replace"):
            return
        time.sleep(0.02)
    raise Failure(f"{path.name} does not say {text!r} within {seconds} s")


def one_error(text):
    """The one line that says what is wrong."""
    lines = [line for line in text.splitlines() if "Error: " in line]
    check(len(lines) == 1, f"one error should be said, not {len(lines)}:\n{text}")
    check("Exception raised" not in text and "[c10d]" not in text, f"c10d's own words:\n{text}")
    return lines[0]
