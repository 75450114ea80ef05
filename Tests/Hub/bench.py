"""A cache and an empty folder for one run of the program, and what must hold after any run."""

import os
import subprocess
import tempfile
import time

from clients import environment, expect
from layout import check
from originals import GOOD, TOKENS
from server import Hub

ONE, WEIGHTS = "Qwen/Qwen3-0.6B", "model.safetensors"
PARTS = ("config.json", "tokenizer.json", WEIGHTS)


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

    def with_any(self, texts):
        """Files that hold one of these texts or are named so; blobs are known by their checksums."""
        found = []
        for directory, _, files in os.walk(self.folder):
            for name in files:
                whole = os.path.join(directory, name)
                if any(text in name for text in texts):
                    found.append(whole)
                elif os.path.isfile(whole) and not os.path.islink(whole) and os.path.getsize(whole) < 1 << 20:
                    with open(whole, "rb") as opened:
                        data = opened.read()
                    found += [whole for text in texts if text.encode() in data]
        return found


def variables(hub, place, token=None, **more):
    user = os.path.join(place.folder, "user")
    os.makedirs(user, exist_ok=True)
    return environment(hub, place.home, token, **{"HOME": user, "XDG_CACHE_HOME": user, "COPPICE_CACHE": user, **more})


def looked_at(run, place, hub, memory=400 << 20):
    """What must hold after any run."""
    expect(run.code is not None, f"did not end in {run.seconds:.0f} s")
    expect(run.code in (0, 1, 64), f"exit {run.code}: {run.told[-600:]}")
    expect(run.memory < memory, f"took {run.memory >> 20} MiB")
    for token in TOKENS:
        expect(token not in run.out + run.err, f"the token was printed: {run.told}")
        expect(not any(token in e["path"] for e in hub.log()), "the token stands in an address")
    found = place.with_any(TOKENS)
    expect(not found, f"the token is in {found}")
    control = [c for c in run.out + run.err if ord(c) < 32 and c not in "\n\t" or c in "\x7f\u202e"]
    expect(not control, f"control characters were printed: {control[:5]}")
    expect(not any(e["leaked"] for e in hub.log()), "the token reached the other host")
    expect(not place.escaped(), f"written outside of the cache: {place.escaped()}")
    check(place.cache)


def is_right(hub, name, folder, parts=PARTS):
    """The files that a run needs are there with their bytes, and none with others."""
    name = hub.settings["moved"].get(name, name)
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


class Bench:
    """A hub, a cache, and the program."""

    def __init__(self, binary, hub, place, show):
        self.binary, self.hub, self.place, self.show = binary, hub, place, show
        self.repository = os.path.join(place.cache, "models--Qwen--Qwen3-0.6B")
        self.revision = hub.repositories["models", ONE].revision("main")
        self.entry = self.revision.entries[WEIGHTS]
        self.blob = os.path.join(self.repository, "blobs", self.entry.etag)
        self.partial = self.blob + ".coppice-partial"
        self.pointer = os.path.join(self.repository, "snapshots", self.revision.sha, WEIGHTS)
        self.given = os.path.join(place.folder, "given")
        os.makedirs(self.given)

    def run(self, *arguments, token=GOOD, checked=True, command="download", **env):
        env = variables(self.hub, self.place, token, **env)
        run = Run([self.binary, command, *arguments], env, self.place.cwd, 60)
        if self.show:
            print(f"      {command} {' '.join(arguments)}: exit {run.code}: {run.told}")
        if checked:
            looked_at(run, self.place, self.hub)
        return run

    def fetched(self, *arguments, **env):
        """A download that succeeds; its snapshot."""
        run = self.run(*(arguments or (ONE,)), **env)
        expect(run.code == 0, f"exit {run.code}: {run.told[-600:]}")
        return run.out.strip().splitlines()[-1]

    def outside(self, data=b"not the model's"):
        """A file that is none of the cache's, as long as the weights."""
        path = os.path.join(self.given, "outside")
        with open(path, "wb") as opened:
            opened.write(data + b"\0" * (self.entry.size - len(data)))
        return path

    def weights_asked(self):
        return [e for e in self.hub.log() if e["host"] == "cdn"]


def benched(binary, shared, body, show):
    """A case with a hub and a cache of its own."""
    with Hub(None, TOKENS, repositories=shared) as hub, tempfile.TemporaryDirectory() as folder:
        body(Bench(binary, hub, Place(folder), show))
