"""A cache and an empty folder for one run of the program, and what must hold after any run."""

import os
import subprocess
import tempfile
import time

from clients import environment, expect
from layout import problems
from originals import TOKENS

MOST_MEMORY = 400 << 20
PARTS = ("config.json", "tokenizer.json", "model.safetensors")


def most_memory(pid):
    """Bytes. Asked while it runs: what `wait` tells includes the memory of whoever started it."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as opened:
            return next((int(line.split()[1]) << 10 for line in opened if line.startswith("VmHWM")), 0)
    except (OSError, ValueError):
        return 0


class Run:
    """One run of the program, with the memory that it took."""

    def __init__(self, command, env, cwd, seconds):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            process = subprocess.Popen(
                command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            self.memory = 0
            while process.poll() is None and time.monotonic() - start < seconds:
                self.memory = max(self.memory, most_memory(process.pid))
                time.sleep(0.005)
            self.seconds, self.code = time.monotonic() - start, process.poll()
            if self.code is None:
                process.kill()
                process.wait()
            out.seek(0), err.seek(0)
            self.out, self.err = out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace")

    @property
    def told(self):
        return " ".join((self.out + self.err).split())


class Place:
    """A cache, an empty folder to run in, and what should not change around them."""

    def __init__(self, folder):
        self.folder, self.home, self.cwd = folder, os.path.join(folder, "home"), os.path.join(folder, "cwd")
        os.makedirs(self.home)
        os.makedirs(self.cwd)
        self.cache = os.path.join(self.home, "hub")

    def escaped(self):
        """What lies where nothing of the hub may be."""
        found = [os.path.join(self.cwd, name) for name in os.listdir(self.cwd)]
        return found + [p for p in os.listdir(self.folder) if p not in ("home", "cwd", "user", "given")]

    def with_text(self, text):
        """Files that hold a text or are named so."""
        for directory, folders, files in os.walk(self.folder):
            for name in files:
                whole = os.path.join(directory, name)
                if text in name:
                    yield whole
                elif os.path.isfile(whole):
                    with open(whole, "rb") as opened:
                        if text.encode() in opened.read():
                            yield whole


def variables(hub, place, token=None, **more):
    user = os.path.join(place.folder, "user")
    os.makedirs(user, exist_ok=True)
    return environment(hub, place.home, token, **{"HOME": user, "XDG_CACHE_HOME": user, "COPPICE_CACHE": user, **more})


def looked_at(run, place, hub):
    """What must hold after any run."""
    expect(run.code is not None, f"did not end in {run.seconds:.0f} s")
    expect(run.code in (0, 1, 64), f"exit {run.code}: {run.told[-600:]}")
    expect(run.memory < MOST_MEMORY, f"took {run.memory >> 20} MiB")
    for token in TOKENS:
        expect(token not in run.out + run.err, f"the token was printed: {run.told}")
        expect(not any(token in e["path"] for e in hub.log()), "the token stands in an address")
        expect(not list(place.with_text(token)), f"the token is in {list(place.with_text(token))}")
    control = [c for c in run.out + run.err if ord(c) < 32 and c not in "\n\t" or c in "\x7f\u202e"]
    expect(not control, f"control characters were printed: {control[:5]}")
    expect(not any(e["leaked"] for e in hub.log()), "the token reached the other host")
    expect(not place.escaped(), f"written outside of the cache: {place.escaped()}")
    expect(not problems(place.cache), problems(place.cache)[:3])


def is_right(hub, name, folder, parts=PARTS):
    """The files that a run needs are there with their bytes, and none with others."""
    kind = "models" if ("models", name) in hub.repositories else "datasets"
    repository = hub.repositories[kind, name]
    revision = repository.revision(os.path.basename(folder))
    expect(revision is not None, f"no snapshot of {name}: {folder}")
    for part in parts:
        expect(os.path.exists(os.path.join(folder, part)), f"{part} is missing")
    for directory, _, files in os.walk(folder):
        for file in files:
            path = os.path.relpath(os.path.join(directory, file), folder)
            entry = revision.entries.get(path) or hub.protocol.invented.get(path)
            expect(entry is not None, f"{path} is no file of {name}")
            with open(os.path.join(directory, file), "rb") as mine:
                expect(len(mine.read()) == entry.size, f"{path} has another size")


def once(hub, size):
    """Each byte of the weights was sent once."""
    sent = [e for e in hub.log() if e["host"] == "cdn" and e["method"] == "GET" and e["status"] in (200, 206)]
    whole = sum(e["sent"] for e in sent)
    expect(whole == size, f"{whole} bytes of {size} were sent, in {[(e['start'], e['sent']) for e in sent]}")
