"""Caches that someone has been at, and commands around them: cases of faults.py."""

import fcntl
import json
import os
import subprocess
import tempfile
import threading

from clients import expect
from bench import Place, Run, is_right, looked_at, once, variables
from layout import problems
from originals import GOOD, TOKENS
from server import Hub

ONE, WEIGHTS = "Qwen/Qwen3-0.6B", "model.safetensors"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


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


def replace_by_link(path, target):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def link_out(which):
    def body(bench):
        bench.fetched()
        outside = bench.outside()
        replace_by_link(bench.pointer if which == "pointer" else bench.blob, outside)
        for env in ({"HF_HUB_OFFLINE": "1"}, {}):
            run = bench.run(ONE, checked=False, **env)
            expect(run.code in (0, 1), f"exit {run.code}: {run.told}")
            expect(run.code == 1 or not problems(bench.place.cache), f"taken for the model: {run.told}")
            with open(outside, "rb") as opened:
                expect(opened.read(15) == b"not the model's", "the file outside was written")
    return body


def snapshot_link_out(bench):
    folder = bench.fetched()
    os.rename(folder, os.path.join(bench.given, "snapshot"))
    os.symlink(os.path.join(bench.given, "snapshot"), folder)
    run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
    expect(run.code == 1, f"exit {run.code}: {run.told}")


def refs(bench):
    bench.fetched()
    path = os.path.join(bench.repository, "refs", "main")
    for text in ("", "../../../../etc", "0" * 40, bench.revision.sha + "\n", "0" * 100_000, "\n", "x" * 40):
        with open(path, "w") as opened:
            opened.write(text)
        run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
        expect(run.code == (0 if text.strip() == bench.revision.sha else 1), f"{text[:50]!r}: {run.code}: {run.told}")
    bench.fetched()
    with open(path) as opened:
        expect(opened.read() == bench.revision.sha, "the ref was not put right")


def junk_partial(size):
    def body(bench):
        os.makedirs(os.path.dirname(bench.partial))
        with open(bench.partial, "wb") as opened:
            opened.write(b"junk" * (size // 4))
        is_right(bench.hub, ONE, bench.fetched())
    return body


def partial_link(bench):
    outside = bench.outside()
    replace_by_link(bench.partial, outside)
    before = os.stat(outside)
    run = bench.run(ONE, checked=False)
    after = os.stat(outside)
    expect((before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns), "the file outside was written")
    with open(outside, "rb") as opened:
        expect(opened.read(15) == b"not the model's", "the file outside was written")
    expect(run.code == 1 or not problems(bench.place.cache), problems(bench.place.cache))


def partial_folder(bench):
    os.makedirs(bench.partial)
    run = bench.run(ONE)
    expect(run.code in (0, 1) and (run.code == 0 or bench.entry.etag[:8] in run.told), run.told)


def incomplete_of_others(bench):
    os.makedirs(os.path.dirname(bench.blob))
    for name in (".incomplete", ".0123abcd.incomplete"):
        with open(bench.blob + name, "wb") as opened:
            opened.write(b"junk" * 1000)
    is_right(bench.hub, ONE, bench.fetched())
    once(bench.hub, bench.entry.size)


def half_blob(bench):
    bench.fetched()
    os.truncate(bench.blob, 1_000_000)
    is_right(bench.hub, ONE, bench.fetched())
    os.truncate(bench.blob, 1_000_000)
    run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
    expect(run.code == 1, f"half a file was taken for whole: {run.told}")


def lost_blob(bench):
    bench.fetched()
    os.unlink(bench.blob)
    run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
    expect(run.code == 1, f"a file that is not there was taken for whole: {run.told}")
    is_right(bench.hub, ONE, bench.fetched())


def lists(bench):
    sha = bench.revision.sha
    for folder in ("trees", ".coppice"):
        for text in (
                "", "[", "{}", "[" * 100_000, json.dumps({"format_version": 2, "files": {}}),
                json.dumps({"format_version": 1, "files": {"../../x.json": {"size": 1, "blob_id": "0" * 40}}}),
                json.dumps({"format_version": 1, "files": {"config.json": {"size": -1, "blob_id": "../../../x"}}}),
                json.dumps({"format_version": 1, "files": [7]})):
            path = os.path.join(bench.repository, folder, sha + ".json")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as opened:
                opened.write(text)
            run = bench.run(ONE)
            expect(run.code == 0, f"{folder} {text[:40]!r}: exit {run.code}: {run.told}")


def held_lock(bench):
    path = os.path.join(bench.place.cache, ".locks", "models--Qwen--Qwen3-0.6B", bench.entry.etag + ".lock")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        released = []

        def release():
            released.append(len(bench.weights_asked()))
            fcntl.flock(opened, fcntl.LOCK_UN)

        threading.Timer(2, release).start()
        is_right(bench.hub, ONE, bench.fetched())
        expect(released == [0], f"fetched while another had the lock: {released}")


def other_revision(bench):
    bench.fetched("Qwen/Qwen3-8B")
    run = bench.run("Qwen/Qwen3-8B", "--revision", "v1.0", HF_HUB_OFFLINE="1")
    expect(run.code == 1 and "v1.0" in run.told and "main" in run.told, run.told)
    run = bench.run("Qwen/Qwen3-8C", HF_HUB_OFFLINE="1")
    expect(run.code == 1 and "Qwen/Qwen3-8B" in run.told, run.told)
    bench.hub.clear()
    first = bench.fetched("Qwen/Qwen3-8B", "--revision", "feature/longer")
    expect(bench.fetched("Qwen/Qwen3-8B@feature/longer") == first, "@ names another")
    expect(not bench.weights_asked(), "weights of the same contents were fetched again")
    ref = os.path.join(bench.place.cache, "models--Qwen--Qwen3-8B", "refs", "feature", "longer")
    expect(os.path.isfile(ref), "no ref")
    commit = bench.fetched("Qwen/Qwen3-8B", "--revision", os.path.basename(first))
    expect(commit == first, "the commit names another")


def again(bench):
    first = bench.fetched()
    once(bench.hub, bench.entry.size)
    bench.hub.clear()
    expect(bench.fetched() == first, "another folder")
    log = bench.hub.log()
    expect(len(log) <= 2 and all(e["path"].startswith("/api/") for e in log), [e["path"] for e in log])
    bench.hub.clear()
    expect(bench.fetched(HF_HUB_OFFLINE="1") == first and not bench.hub.log(), "a request offline")


def gone(bench):
    """The network is down, and nobody said so."""
    folder = bench.fetched()
    bench.hub.close()
    run = bench.run("--hf_model_name_or_path", ONE, command="inspect", checked=False)
    expect(run.code == 0, f"inspect: exit {run.code}: {run.told[-500:]}")
    run = bench.run(ONE, checked=False)
    expect(run.code == 1 and "reach" in run.told or run.out.strip() == folder, f"exit {run.code}: {run.told}")


def as_json(bench):
    run = bench.run(ONE, "--json")
    told = json.loads(run.out)
    expect(told["revision"] == bench.revision.sha and told["directory"].endswith(told["revision"]), told)
    expect(told["fetched_bytes"] == told["bytes"] > bench.entry.size and told["files"] >= 5, told)
    expect(json.loads(bench.run(ONE, "--json", "--quiet").out)["fetched_bytes"] == 0, "fetched again")


def one_format(bench):
    folder = bench.fetched("example/duplicates")
    found = sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, files in os.walk(folder) for f in files)
    wrong = [f for f in found if f.endswith((".bin", ".pth", ".gguf", ".onnx", ".h5", ".ot", ".msgpack"))]
    expect(not wrong and [f for f in found if f.endswith(".safetensors")] == ["model.safetensors"], found)
    run = bench.run("example/duplicates", "--include", "*.bin")
    expect(run.code == 1 and "pickle" in run.told, f"exit {run.code}: {run.told}")


def data_sets(bench):
    for name, parts in (("example/card", ["README.md", "records/one.jsonl"]), ("plain", ["train.jsonl"])):
        is_right(bench.hub, name, bench.fetched(name, "--repo_type", "dataset"), parts)


def only_config(command, *more):
    def body(bench):
        for name in ("Qwen/Qwen3-8B", ONE):
            bench.hub.clear()
            run = bench.run("--hf_model_name_or_path", name, *more, command=command)
            expect(run.code == 0, f"exit {run.code}: {run.told[-500:]}")
            files = {e["file"] for e in bench.hub.log() if e["method"] == "GET" and e["status"] == 200 and e["file"]}
            expect(files <= {"config.json", "model.safetensors.index.json"}, files)
            bench.hub.clear()
            run = bench.run("--hf_model_name_or_path", name, *more, command=command, HF_HUB_OFFLINE="1")
            expect(run.code == 0 and not bench.hub.log(), f"offline: exit {run.code}: {run.told[-500:]}")
    return body


def login(bench):
    saved = os.path.join(bench.place.home, "token")
    env = variables(bench.hub, bench.place)

    def logs_in(*arguments, given=""):
        done = subprocess.run([bench.binary, "login", *arguments], env=env, cwd=bench.place.cwd, input=given,
                              capture_output=True, text=True, timeout=30)
        told = done.stdout + done.stderr
        expect(not any(token in told for token in (*TOKENS, "hf_wrong")), f"the token was printed: {told}")
        return done.returncode, told

    for arguments, given in ((["--token", "hf_wrong"], ""), ([], "hf_wrong\n"), ([], "")):
        code, told = logs_in(*arguments, given=given)
        expect(code in (1, 64) and not os.path.exists(saved), f"exit {code}: {told}")
    for arguments, given in ((["--token", GOOD], ""), ([], GOOD + "\n")):
        code, told = logs_in(*arguments, given=given)
        expect(code == 0 and "reader" in told, f"exit {code}: {told}")
        with open(saved) as opened:
            expect(opened.read() == GOOD and os.stat(saved).st_mode & 0o777 == 0o600, "saved otherwise")
        run = bench.run("meta-llama/Llama-3.1-8B", token=None, checked=False)
        expect(run.code == 0, f"exit {run.code}: {run.told}")
        os.unlink(saved)
    elsewhere = os.path.join(bench.given, "deep", "token")
    env["HF_TOKEN_PATH"] = elsewhere
    code, told = logs_in("--token", GOOD)
    expect(code == 0 and os.path.exists(elsewhere), f"exit {code}: {told}")
    bench.hub.clear()
    run = bench.run(ONE, token=None, checked=False, HF_TOKEN_PATH=elsewhere, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    expect(run.code == 0 and not any(e["auth"] for e in bench.hub.log()), "the token was sent all the same")


def listed(bench):
    bench.fetched()
    run = bench.run("ls", command="cache", token=None)
    expect(run.code == 0 and ONE in run.told, run.told)


def proxies(bench):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        bench.hub.clear()
        with tempfile.TemporaryDirectory(dir=bench.given) as home:
            run = bench.run(ONE, HF_ENDPOINT="http://hub.invalid", HF_HUB_CACHE=home, **{name: bench.hub.endpoint})
            expect(run.code == 0, f"{name}: exit {run.code}: {run.told}")
            asked = {e["proxied"] for e in bench.hub.log()}
            expect(asked == {"hub.invalid", bench.hub.cdn[7:]}, f"not through the proxy: {asked}")
    bench.hub.clear()
    with tempfile.TemporaryDirectory(dir=bench.given) as home:
        bench.fetched(ONE, HF_HUB_CACHE=home, http_proxy="http://127.0.0.1:9", NO_PROXY="127.0.0.1,127.0.0.2")


def local_only(bench):
    """LD_DEBUG says which libraries are opened."""
    model = os.path.join(ROOT, "Examples", "model")
    for arguments in (["inspect", "--hf_model_name_or_path", model], ["--help"], ["families"]):
        env = {**variables(bench.hub, bench.place), "LD_DEBUG": "files"}
        done = subprocess.run([bench.binary, *arguments], env=env, cwd=bench.place.cwd, capture_output=True, text=True,
                              errors="replace", timeout=60)
        expect(done.returncode == 0 and "libc.so" in done.stderr, done.stderr[-300:])
        expect("libcurl" not in done.stderr, f"{arguments[0]} opens libcurl")
    expect(not bench.hub.log(), "a request")


CASES = {
    "a link of a snapshot leads out of the cache": link_out("pointer"),
    "a blob is a link out of the cache": link_out("blob"),
    "a snapshot is a link out of the cache": snapshot_link_out,
    "refs that name no commit": refs,
    "a partial file of something else": junk_partial(3_000_000),
    "a partial file that is longer than the file": junk_partial(9_000_000),
    "a partial file that is a link": partial_link,
    "a partial file that is a folder": partial_folder,
    "partial files of other programs": incomplete_of_others,
    "a blob that is cut short": half_blob,
    "a blob that is gone": lost_blob,
    "lists of files that are none": lists,
    "another program has the lock": held_lock,
    "revisions, offline and online": other_revision,
    "what is there is not fetched again": again,
    "the hub cannot be reached, and everything is there": gone,
    "--json": as_json,
    "one format of weights, no pickles": one_format,
    "a data set": data_sets,
    "inspect fetches the config alone": only_config("inspect"),
    "plan fetches the config alone": only_config("plan", "--prune_target_params", "3e6", "--ss_channel_divisor", "32"),
    "login": login,
    "cache ls": listed,
    "proxies": proxies,
    "a run on local files opens no libcurl": local_only,
}


def played(binary, shared, body, show):
    with Hub(None, TOKENS, repositories=shared) as hub, tempfile.TemporaryDirectory() as folder:
        body(Bench(binary, hub, Place(folder), show))
