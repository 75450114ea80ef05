"""Downloads that are cut by the server or killed, at random moments, and started again: right every time, and no byte
that had arrived is fetched again.

    python cuts.py --binary .build/release/coppice [--interruptions 200] [--megabytes 40] [--seed 1]

What is counted, exactly: when a process is killed, bytes of a file that are in its partial file must not be asked for
again. Of what the server had sent by then, the rest was in flight. So for every file
    bytes sent by the server = size of the file + what was in flight at each kill,
and a connection that the server closes costs nothing, since all that was sent arrives. One line a case; exit 1 if any
fails. Standard library only.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import repositories
from clients import Cases, expect
from bench import Place, variables
from layout import check
from originals import TOKENS
from server import Hub

NAME = "example/big"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def content(entry):
    with open(entry.file, "rb") as opened:
        return opened.read()


class Download:
    """One cache, filled by processes that are interrupted, until it is whole."""

    def __init__(self, binary, hub, folder):
        self.hub, self.place = hub, Place(folder)
        self.command = [binary, "download", NAME, "--quiet"]
        self.env = variables(hub, self.place)
        self.revision = hub.repositories["models", NAME].revision("main")
        self.sizes = {e.etag: e.size for e in self.revision.entries.values()}
        self.blobs = os.path.join(self.place.cache, "models--" + NAME.replace("/", "--"), "blobs")
        self.sent = dict.fromkeys(self.sizes, 0)
        self.in_flight = dict.fromkeys(self.sizes, 0)

    def start(self):
        self.log = os.path.join(self.place.folder, "user", "log")
        with open(self.log, "wb") as opened:
            return subprocess.Popen(self.command, env=self.env, cwd=self.place.cwd, stdin=subprocess.DEVNULL,
                                    stdout=opened, stderr=subprocess.STDOUT)

    def there(self, etag):
        """Bytes of a file that are on the disk."""
        for name, whole in ((etag, True), (etag + ".coppice-partial", False)):
            try:
                size = os.path.getsize(os.path.join(self.blobs, name))
            except OSError:
                continue
            expect(not whole or size == self.sizes[etag], f"{name} counts with {size} of {self.sizes[etag]} bytes")
            return size
        return 0

    def accounted(self, before, killed):
        """Goes through what the hub was asked since the process was started."""
        reached = dict(before)
        for entry in self.hub.settled():
            etag = entry["etag"]
            if entry["method"] != "GET" or etag not in self.sizes or entry["status"] not in (200, 206):
                continue
            expect(entry["start"] >= reached[etag],
                   f"{entry['file']} is asked for from {entry['start']}, and {reached[etag]} bytes were there")
            reached[etag] = entry["start"] + entry["sent"]
            self.sent[etag] += entry["sent"]
        after = {etag: self.there(etag) for etag in self.sizes}
        for etag in self.sizes:
            lost = reached[etag] - after[etag]
            expect(lost == 0 if not killed else lost >= 0, f"{etag[:8]}: sent to {reached[etag]}, there {after[etag]}")
            self.in_flight[etag] += lost
        self.hub.log_anew()
        return after

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as opened:
            return " ".join(opened.read().split())[-600:]

    def finished(self, fetched=None):
        """Everything is there and right, and was sent once."""
        folder = os.path.join(self.place.cache, "models--" + NAME.replace("/", "--"), "snapshots", self.revision.sha)
        for path, entry in self.revision.entries.items():
            if path == ".gitattributes":
                continue
            with open(os.path.join(folder, path), "rb") as opened:
                expect(opened.read() == content(entry), f"{path} is wrong")
            if fetched is None:
                whole = entry.size + self.in_flight[entry.etag]
                expect(self.sent[entry.etag] == whole, f"{path}: {self.sent[entry.etag]} bytes sent, expected {whole}")
        left = [name for name in os.listdir(self.blobs) if "partial" in name or "incomplete" in name]
        expect(not left, f"left: {left}")
        check(self.place.cache)


def interrupted(binary, hub, chance, length, kinds, count):
    """One download, interrupted until it succeeds or so often; how often it was."""
    with tempfile.TemporaryDirectory() as folder:
        download = Download(binary, hub, folder)
        interruptions, before = 0, dict.fromkeys(download.sizes, 0)
        while True:
            hub.rules.clear()
            hub.log_anew()
            hub.fault("slow", host="cdn", rate=chance.choice([20, 60, 200]) * 1_000_000)
            kind = chance.choice(kinds) if interruptions < count else "none"
            cut = None
            if kind in ("cut", "both"):
                cut = hub.fault("cut", bytes=[0, 3_000_000], probability=0.6, times=chance.randint(1, 8))
            process = download.start()
            hung_up = []
            if kind == "hang up":
                timer = threading.Timer(chance.uniform(0, length), lambda: hung_up.append(hub.hang_up()))
                timer.start()
            killed = False
            if kind in ("kill", "both"):
                try:
                    process.wait(chance.uniform(0, length * 1.2))
                except subprocess.TimeoutExpired:
                    process.send_signal(chance.choice(SIGNALS))
                    killed = True
            code = process.wait(60)
            if kind == "hang up":
                timer.cancel()
            interruptions += killed + (cut["acted"] if cut else 0) + any(hung_up)
            before = download.accounted(before, killed)
            if code == 0:
                download.finished()
                return interruptions
            expect(killed, f"exit {code}: {download.output()}")
            expect(code < 0 or code in (130, 143), f"exit {code} after a signal: {download.output()}")


def together(binary, hub, chance, length, kills):
    """Several processes at once; some are killed: each byte is sent once but for what was in flight."""
    with tempfile.TemporaryDirectory() as folder:
        download = Download(binary, hub, folder)
        hub.rules.clear()
        hub.log_anew()
        hub.fault("slow", host="cdn", rate=30_000_000)
        processes = [download.start() for _ in range(3)]
        for process in processes[:kills]:
            time.sleep(chance.uniform(0, length))
            process.kill()
        codes = [process.wait(60) for process in processes]
        expect(all(code in (0, -9) for code in codes) and codes[-1] == 0, f"{codes}: {download.output()}")
        entries = [e for e in hub.settled() if e["method"] == "GET" and e["status"] in (200, 206) and e["etag"]]
        if not kills:
            for entry in entries:
                download.sent[entry["etag"]] += entry["sent"]
        download.finished(fetched=entries if kills else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--interruptions", type=int, default=32, help="32 take ten seconds, 200 a minute or two")
    parser.add_argument("--megabytes", type=float, default=12)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    chance, cases, binary = random.Random(seed), Cases(), os.path.abspath(arguments.binary)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as work:
        repositories.big(work, arguments.megabytes)
        with Hub(work, TOKENS, seed=seed) as hub:
            start = time.monotonic()
            cases.check("an undisturbed download", lambda: interrupted(binary, hub, chance, 1, ["none"], 0))
            length = time.monotonic() - start
            print(f"      takes {length:.2f} s")
            for name, kinds in (("cut by the server", ["cut"]), ("connections hung up", ["hang up"]),
                                ("killed", ["kill"]), ("cut and killed", ["cut", "kill", "both", "hang up"])):
                made = [0]

                def body(kinds=kinds, made=made):
                    wanted = max(arguments.interruptions // 4, 1)
                    while made[0] < wanted:
                        made[0] += max(interrupted(binary, hub, chance, length, kinds, wanted - made[0]), 1)
                cases.check(f"{name}, and started again", body)
                print(f"      {made[0]} interruptions")
            for kills in (0, 1, 2):
                cases.check(f"three processes at once, {kills} of them killed",
                            lambda kills=kills: together(binary, hub, chance, length, kills))
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
