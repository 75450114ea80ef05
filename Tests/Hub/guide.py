"""The commands of the pruning guide, as they stand, from names to an export, against the test hub.

    python guide.py --binary .build/release/prune_minitron [--kills 20] [--only WORD] [--with ARGUMENT…]

The served `Qwen/Qwen3-8B` is the example model, so the budget is smaller than the guide's, and the search's steps are:
`--ss_channel_divisor 32` is the one flag that the guide has not. Calibration and questions are the defaults, by name:
nvidia/Nemotron-Post-Training-Dataset-v2, which is gated, and cais/mmlu. One line a case; exit 1 if any fails. Needs
pyarrow to make the repositories, and strace to see connections: without it, only those to the hub are seen.

`--with` adds arguments to every command, for a program that does not have all of it yet.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import repositories
from bench import Place, variables
from clients import Cases, expect
from layout import check
from originals import GOOD, STRANGER, TOKENS
from server import Hub
from stored import read_repositories

NAME, DATA, QUESTIONS = "Qwen/Qwen3-8B", "nvidia/Nemotron-Post-Training-Dataset-v2", "cais/mmlu"
SEARCH = ["--prune_target_params", "3e6", "--hparams_to_skip", "num_attention_heads", "--ss_channel_divisor", "32", "--top_k", "4",
          "--prune_score_func", "mmlu_4pct_bs1", "--calib_num_samples", "8"]
BY_HAND = ["--prune_export_config", '{"hidden_size": 128, "ffn_hidden_size": 384}']


def digests(folder):
    """Path -> SHA-256, of every file."""
    found = {}
    for directory, _, files in os.walk(folder):
        for file in files:
            whole = os.path.join(directory, file)
            with open(whole, "rb") as opened:
                found[os.path.relpath(whole, folder)] = hashlib.sha256(opened.read()).hexdigest()
    return found


class Guide:
    """One user: a cache, kept scores, and an empty folder to be in."""

    def __init__(self, binary, hub, folder, more):
        self.binary, self.hub, self.more, self.alone = binary, hub, more, False
        self.place = Place(folder)

    def command(self, what=SEARCH):
        # The model card names its folder: always the same, to compare bytes.
        stages = [] if self.alone else ["--pp_size", "2"]
        return [self.binary, *stages, "--hf_model_name_or_path", NAME, *what, "--output_hf_path", "pruned", *self.more]

    def run(self, what=SEARCH, token=GOOD, code=0, before=(), **env):
        """What a run said that ended in this exit code."""
        done = subprocess.run([*before, *self.command(what)], env=variables(self.hub, self.place, token, **env),
                              cwd=self.place.cwd, capture_output=True, text=True, errors="replace", timeout=600)
        told = " ".join((done.stdout + done.stderr).split())
        expect(done.returncode == code, f"exit {done.returncode}, expected {code}: {told[-700:]}")
        for secret in TOKENS:
            expect(secret not in told, "the token was printed")
        left = [name for name in os.listdir(self.place.cwd) if code or name != "pruned"]
        expect(not left, f"left in the working directory: {left}")
        return told

    def output(self):
        """What a run made, which is then removed."""
        folder = os.path.join(self.place.cwd, "pruned")
        found = digests(folder)
        shutil.rmtree(folder)
        weights = [path for path in found if path.endswith(".safetensors")]
        expect("config.json" in found and "coppice.json" in found and weights, f"no checkpoint: {sorted(found)}")
        return found

    def forget_scores(self):
        """As if nothing had ever been measured; the hub's cache is kept."""
        for name in ("user", "scores"):
            shutil.rmtree(os.path.join(self.place.folder, name), ignore_errors=True)


def sent_once(hub):
    """No byte of a file was sent twice, and none to a host with a token."""
    sent = {}
    for entry in hub.settled():
        if entry["method"] == "GET" and entry["status"] in (200, 206) and entry["etag"]:
            sent[entry["etag"]] = sent.get(entry["etag"], 0) + entry["sent"]
    revisions = [revision for repository in hub.repositories.values() for revision in repository.revisions.values()]
    sizes = {entry.etag: entry.size for revision in revisions for entry in revision.entries.values()}
    twice = {etag[:12]: (count, sizes[etag]) for etag, count in sent.items() if count > sizes[etag]}
    expect(not twice, f"sent more than once: {twice}")
    expect(not any(e["leaked"] for e in hub.log()), "the token reached the other host")


def different(mine, theirs):
    told = sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))
    expect(not told, f"other bytes: {told}")


def connections(trace):
    """Addresses of the network in a trace of strace's."""
    with open(trace, encoding="utf-8", errors="replace") as opened:
        return [line.strip() for line in opened if "AF_INET" in line]


def played(cases, binary, hubs, work, more, kills, only):
    """The cases in their order: later ones use what earlier ones fetched."""
    hub = hubs()
    guide = Guide(binary, hub, os.path.join(work, "user"), more)
    results = {"length": 20}

    def case(name, body):
        if only in name:
            cases.check(name, body)

    def without_token():
        told = guide.run(token=None, code=1)
        expect(f"{hub.endpoint}/datasets/{DATA}" in told and "login" in told, told)
        told = guide.run(token=STRANGER, code=1)
        expect(f"{hub.endpoint}/datasets/{DATA}" in told, told)

    def search():
        hub.clear()
        start = time.monotonic()
        told = guide.run()
        results["length"] = time.monotonic() - start
        results["searched"] = guide.output()
        expect("2 processes: 2 stages" in told, f"nothing is said of the stages: {told[-500:]}")
        sent_once(hub)
        check(guide.place.cache)
        asked = {e["path"] for e in hub.log()}
        for name in (NAME, DATA, QUESTIONS):
            expect(more or any(name in path for path in asked), f"nothing of {name} was asked for")

    def by_hand():
        hub.clear()
        guide.run(BY_HAND)
        results["by-hand"] = guide.output()
        sent_once(hub)

    def logged_in():
        """As the guide has it: log in once, then no variable."""
        coppice = os.path.join(os.path.dirname(binary), "coppice")
        env = variables(hub, guide.place)
        login = [coppice, "login", "--token", GOOD]
        subprocess.run(login, env=env, check=True, capture_output=True, cwd=guide.place.cwd)
        shutil.rmtree(guide.place.cache)
        hub.clear()
        guide.run(BY_HAND, token=None)
        different(guide.output(), results["by-hand"])
        os.unlink(os.path.join(guide.place.home, "token"))

    def offline():
        """The server is stopped; no connection is tried."""
        guide.forget_scores()
        for what in (SEARCH, BY_HAND):
            # Scores that are kept want no data: what an earlier case has fetched may be gone.
            guide.forget_scores()
            guide.run(what)
            guide.output()
        hub.close()
        traced = shutil.which("strace") is not None
        for name, what in (("searched", SEARCH), ("by-hand", BY_HAND)):
            guide.forget_scores()
            trace = os.path.join(guide.place.home, "trace")
            strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", trace]
            before = strace if traced else []
            guide.run(what, token=None, HF_HUB_OFFLINE="1")
            different(guide.output(), results[name])
            # Two processes meet over the network of this machine; one has nobody to meet.
            guide.forget_scores()
            guide.alone = True
            guide.run(what, token=None, before=before, HF_HUB_OFFLINE="1")
            guide.alone = False
            different(guide.output(), results[name])
            if traced:
                expect(not connections(trace), connections(trace)[:3])
                os.unlink(trace)

    def data_sets():
        """Other data sets by name; no more files than the rows need."""
        few = [*BY_HAND, "--seq_length", "192", "--calib_num_samples", "4", "--calib_dataset_name"]
        for name, wanted in (("example/card", "records/one.jsonl"), ("example/folders", "train/a.jsonl"),
                             ("example/script", "default/train/0000.parquet")):
            hub.clear()
            guide.run([*few, name])
            first = guide.output()
            fetched = {e["file"] for e in hub.log() if e["method"] == "GET" and e["etag"]}
            fetched = {path for path in fetched if path.endswith((".jsonl", ".parquet"))}
            expect(fetched == {wanted}, f"{name}: fetched {fetched}, {wanted} is enough")
            hub.clear()
            guide.forget_scores()
            guide.run([*few, name], HF_HUB_OFFLINE="1")
            different(guide.output(), first)
            expect(not hub.log(), "a request offline")
        told = guide.run([*few, "example/crad"], code=1)
        expect(f"{hub.endpoint}/datasets/example/crad" in told, told)

    def killed():
        """From an empty cache, killed again and again: it goes on, and the result is the same."""
        other = hubs()
        again = Guide(binary, other, os.path.join(work, "killed"), more)
        chance, done = random.Random(kills), 0
        other.fault("slow", host="cdn", rate=4_000_000)
        while True:
            process = subprocess.Popen(
                again.command(), env=variables(other, again.place, GOOD), cwd=again.place.cwd,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                told, _ = process.communicate(timeout=chance.uniform(0, results["length"]) if done < kills else 600)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                done += 1
                continue
            expect(process.returncode == 0, f"exit {process.returncode}: {told.decode('utf-8', 'replace')[-600:]}")
            break
        different(again.output(), results["searched"])
        left = [name for name in os.listdir(again.place.cwd) if "pruned" in name]
        expect(not left, f"left beside the result: {left}")
        check(again.place.cache)
        expect(not any(e["leaked"] for e in other.log()), "the token reached the other host")
        other.close()

    case("without a token, and with one that was not granted: which page to accept", without_token)
    case("prune to a target parameter count, from names", search)
    case("prune to a specific architecture, from names", by_hand)
    case("after login, from an empty cache", logged_in)
    if not more:
        case("other data sets by name", data_sets)
    if kills:
        case("killed at random moments, from an empty cache", killed)
    case("offline, with the server stopped: the same bytes, and no connection", offline)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="prune_minitron; coppice is beside it")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--with", nargs=argparse.REMAINDER, default=[], dest="more")
    arguments = parser.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        repositories.make(root)
        shared = read_repositories(root)
        opened = []

        def hubs():
            opened.append(Hub(None, TOKENS, repositories=shared))
            return opened[-1]

        try:
            binary = os.path.abspath(arguments.binary)
            played(cases, binary, hubs, work, arguments.more, arguments.kills, arguments.only)
        finally:
            for hub in opened:
                hub.close()
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
