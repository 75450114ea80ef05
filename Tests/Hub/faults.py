"""Runs `coppice download` against a hub that misbehaves in every way of scenarios.py, and against caches that were
tampered with.

    python faults.py --binary .build/release/coppice [--only WORD] [--show] [--jobs N]

After every run: the exit code and what was said; no token in the output, in any file, at the other host; nothing
outside of the cache; nothing in it that is not what its name says; no snapshot that is taken for whole when it is not;
and the same command succeeds when the hub is well again. One line a case; exit 1 if any fails. Standard library only.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time

import repositories
import scenarios
from clients import Cases, environment, expect
from layout import problems
from originals import GOOD, TOKENS
from server import Hub
from stored import read_repositories

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


def played(binary, shared, scenario, show):
    """One scenario, with a hub and a cache of its own."""
    with Hub(None, TOKENS, repositories=shared) as hub, tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        outside = os.path.join(folder, "OUTSIDE")
        hub.settings.update(scenario.settings)
        for rule in scenario.rules:
            names = {"names": [n.replace("/OUTSIDE", outside) for n in rule["names"]]} if "names" in rule else {}
            hub.rules.add({**rule, **names})
        command = [binary, "download", scenario.repository, *scenario.arguments]
        env = variables(hub, place, scenario.token, **scenario.env)
        run = Run(command, env, place.cwd, scenario.seconds)
        if show:
            print(f"      {scenario.name}: exit {run.code}, {run.seconds:.1f} s, {run.memory >> 20} MiB: {run.told}")
        looked_at(run, place, hub)
        expect(run.code == scenario.code or scenario.code is None, f"exit {run.code}: {run.told[-500:]}")
        for pattern in scenario.says:
            pattern = pattern.replace("ENDPOINT/", re.escape(hub.endpoint) + "/")
            expect(re.search(pattern, run.told), f"nothing of {pattern!r} in: {run.told}")
        if scenario.gets is not None:
            gets = [e for e in hub.log() if e["host"] == "cdn" and e["method"] == "GET"]
            expect(len(gets) == scenario.gets, f"{len(gets)} requests for the weights, expected {scenario.gets}")
        if run.code == 0:
            is_right(hub, scenario.repository, run.out.strip().splitlines()[-1])
        if scenario.once:
            once(hub, 7881504)
        if run.code:
            expect(len(run.err.strip()) > 20 and len(run.err) < 3000, f"a message of {len(run.err)} characters")
            offline = variables(hub, place, scenario.token, **{**scenario.env, "HF_HUB_OFFLINE": "1"})
            hub.clear()
            again = Run(command, offline, place.cwd, 20)
            expect(again.code in (1, 64), f"offline, exit {again.code}: half of it is taken for whole: {again.told}")
            expect(not hub.log(), "a request offline")
        if scenario.recovers:
            hub.clear()
            hub.settings["page_size"] = 1000
            env = variables(hub, place, GOOD)
            again = Run([binary, "download", scenario.repository], env, place.cwd, 60)
            looked_at(again, place, hub)
            expect(again.code == 0, f"the hub is well again, and: {again.told[-500:]}")
            is_right(hub, scenario.repository, again.out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="", help="scenarios with this in their names")
    parser.add_argument("--show", action="store_true", help="what each run says")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--long", action="store_true", help="also what takes minutes")
    arguments = parser.parse_args()
    binary, cases = os.path.abspath(arguments.binary), Cases()
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        repositories.make(root, with_parquet=False)
        shared = read_repositories(root)
        import tampered
        todo = [(f"{part}: {s.name}", lambda s=s: played(binary, shared, s, arguments.show))
                for part, found in scenarios.ALL.items() for s in found if arguments.long or not s.long]
        todo += [(f"tampered: {name}", lambda body=body: tampered.played(binary, shared, body, arguments.show))
                 for name, body in tampered.CASES.items()]
        todo = [(name, body) for name, body in todo if arguments.only in name]
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for done in [pool.submit(cases.check, name, body) for name, body in todo]:
                done.result()
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
