"""Is the test hub right? What `huggingface_hub` and `datasets` themselves do with it."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from clients import environment, expect
from layout import check

GOOD, STRANGER = "hf_goodtoken0123456789", "hf_strangertoken012345"
TOKENS = {GOOD: {"name": "reader", "granted": ["*"]}, STRANGER: {"name": "stranger", "granted": []}}


def served(hub, kind, name, revision="main"):
    """The files of a revision: path -> entry."""
    return hub.repositories[kind, name].revision(revision).entries


def same_files(folder, entries, exactly=True):
    """The folder holds these files with these bytes, and nothing else."""
    found = sorted(
        os.path.relpath(os.path.join(directory, name), folder)
        for directory, _, names in os.walk(folder) for name in names)
    if exactly:
        expect(found == sorted(entries), f"files {found}, expected {sorted(entries)}")
    for path in found:
        with open(os.path.join(folder, path), "rb") as mine, open(entries[path].file, "rb") as theirs:
            expect(mine.read() == theirs.read(), f"{path}: other bytes")


def gets(hub):
    """Requests that fetched a file's bytes."""
    return [e for e in hub.log() if e["method"] == "GET" and e["status"] in (200, 206) and e["etag"]]


def proven(cases, hub, client):
    """Everything that one version of huggingface_hub does with the hub."""
    version = client.name

    def case(name, body):
        def fresh():
            hub.clear()
            hub.settings.update(page_size=1000, signature_seconds=3600)
            with tempfile.TemporaryDirectory() as cache:
                body(cache)
                expect(not any(e["leaked"] for e in hub.log()), "a token reached the other host")
                check(os.path.join(cache, "hub"))
        cases.check(f"{client}: {name}", fresh)

    def snapshot(cache):
        variables = environment(hub, cache)
        folder = client.call("snapshot_download", variables, repo_id="Qwen/Qwen3-8B")
        same_files(folder, served(hub, "models", "Qwen/Qwen3-8B"))
        hub.clear()
        expect(client.call("snapshot_download", variables, repo_id="Qwen/Qwen3-8B") == folder, "another folder")
        expect(len(hub.log()) <= 2 and not gets(hub), f"requests for what is there: {hub.log()}")
        hub.clear()
        offline = environment(hub, cache, offline=True)
        expect(client.call("snapshot_download", offline, repo_id="Qwen/Qwen3-8B") == folder, "another folder offline")
        expect(not hub.log(), "a request offline")
    case("a snapshot, again, and offline", snapshot)

    def revisions(cache):
        variables = environment(hub, cache)
        repository = hub.repositories["models", "Qwen/Qwen3-8B"]
        names = [*repository.refs, *repository.revisions]
        told = client.run([
            {"call": "hf_hub_download", "repo_id": "Qwen/Qwen3-8B", "filename": "README.md", "revision": name}
            for name in names], variables)
        for name, result in zip(names, told):
            revision = repository.revision(name)
            expect("value" in result and revision.sha in result["value"], f"{name}: {result}")
            with open(result["value"], "rb") as mine, open(revision.entries["README.md"].file, "rb") as theirs:
                expect(mine.read() == theirs.read(), f"{name}: other bytes")
    case("branches, tags, pull requests, commits", revisions)

    def names(cache):
        variables = environment(hub, cache)
        same_files(client.call("snapshot_download", variables, repo_id="gpt2"), served(hub, "models", "gpt2"))
        folder = client.call("snapshot_download", variables, repo_id="example/subfolder")
        same_files(folder, served(hub, "models", "example/subfolder"))
        folder = client.call("snapshot_download", variables, repo_id="cais/mmlu", repo_type="dataset")
        same_files(folder, served(hub, "datasets", "cais/mmlu"))
    case("names without owner, odd file names, a dataset", names)

    def pages(cache):
        hub.settings["page_size"] = 3
        folder = client.call("snapshot_download", environment(hub, cache), repo_id="Qwen/Qwen3-8B")
        same_files(folder, served(hub, "models", "Qwen/Qwen3-8B"))
        if version != "0.36.0":
            expect(sum("/tree/" in e["path"] for e in hub.log()) == 5, "pages were not followed")
    case("a listing in pages", pages)

    def missing(cache):
        variables = environment(hub, cache)
        client.fails("hf_hub_download", variables, "EntryNotFoundError", repo_id="gpt2", filename="nothing.json")
        sha = hub.repositories["models", "gpt2"].refs["main"]
        expect(os.path.exists(f"{cache}/hub/models--gpt2/.no_exist/{sha}/nothing.json"), "not remembered")
        client.fails("snapshot_download", variables, "RevisionNotFoundError", repo_id="gpt2", revision="nothing")
        client.fails("snapshot_download", variables, "RepositoryNotFoundError", repo_id="Qwen/Qwen3-8C")
        variables = environment(hub, cache, token=GOOD)
        client.fails("snapshot_download", variables, "RepositoryNotFoundError", repo_id="Qwen/Qwen3-8C")
        variables = environment(hub, cache, token="hf_wrong")
        told = client.fails("snapshot_download", variables, "HfHubHTTPError", repo_id="gpt2")
        expect("401" in told and "redentials" in told, told)
    case("no such file, revision, repository; a wrong token", missing)

    def gated(cache):
        gate = {"repo_id": "meta-llama/Llama-3.1-8B"}
        client.fails("snapshot_download", environment(hub, cache), "GatedRepoError", **gate)
        client.fails("snapshot_download", environment(hub, cache, STRANGER), "GatedRepoError", **gate)
        variables = environment(hub, cache, GOOD)
        same_files(client.call("snapshot_download", variables, **gate), served(hub, "models", gate["repo_id"]))
        expect(all(e["auth"] for e in hub.log()[-3:] if e["host"] == "hub"), "no token at the hub")
        expect(client.call("whoami", variables) == "reader", "whoami")
        client.fails("snapshot_download", environment(hub, cache), "RepositoryNotFoundError", repo_id="example/private")
        client.call("snapshot_download", variables, repo_id="example/private")
    case("gated and private repositories", gated)

    def spoiled(cache):
        variables = environment(hub, cache)
        hub.fault("cut", host="cdn", bytes=1_000_000, times=1)
        if version == "0.36.0":
            client.fails("snapshot_download", variables, "ChunkedEncodingError", repo_id="Qwen/Qwen3-0.6B")
        folder = client.call("snapshot_download", variables, repo_id="Qwen/Qwen3-0.6B")
        same_files(folder, served(hub, "models", "Qwen/Qwen3-0.6B"))
        # It writes pieces of 10 MB: nothing of the first megabyte was kept.
        expect([e["sent"] for e in gets(hub) if e["host"] == "cdn"] == [1_000_000, 7_881_504], "sent otherwise")
        hub.fault("status", host="hub", path="/api/models/gpt2", code=503, times=1)
        client.fails("snapshot_download", variables, "LocalEntryNotFoundError", repo_id="gpt2")
        limited = {"RateLimit": '"api";r=0;t=1'}
        hub.fault("status", host="hub", path="/api/resolve-cache", code=429, times=1, headers=limited)
        if version != "0.36.0":
            same_files(client.call("snapshot_download", variables, repo_id="gpt2"), served(hub, "models", "gpt2"))
            expect(sum(e["status"] == 429 for e in hub.log()) == 1, "no 429")
    case("cut connections, 503, 429", spoiled)

    def xet(cache):
        variables = environment(hub, cache)
        folder = client.call("snapshot_download", variables, repo_id="example/xet")
        same_files(folder, served(hub, "models", "example/xet"))
        told = client.run([{"call": "snapshot_download", "repo_id": "example/xet-only"}], variables)[0]
        expect("403" in told.get("message", ""), told)
    case("files with a Xet hash over plain HTTP", xet)


def loaded(cases, hub, client):
    """load_dataset."""
    def case(name, body):
        def fresh():
            hub.clear()
            with tempfile.TemporaryDirectory() as cache:
                body(cache)
        cases.check(f"{client}: {name}", fresh)

    def rows(hub_cache, token=None, **arguments):
        return client.call("rows", environment(hub, hub_cache, token), **arguments)

    def nemotron(cache):
        told = rows(cache, GOOD, path="nvidia/Nemotron-Post-Training-Dataset-v2")
        expect({n: t["rows"] for n, t in told.items()} == dict.fromkeys(("stem", "chat", "math", "code"), 125), told)
        expect("messages" in told["stem"]["columns"], told)
    case("the default calibration set", nemotron)

    def mmlu(cache):
        told = rows(cache, path="cais/mmlu", name="all")
        expect({n: t["rows"] for n, t in told.items()} == {"test": 1800, "validation": 60, "dev": 60}, told)
    case("cais/mmlu", mmlu)

    def others(cache):
        told = rows(cache, path="example/card")
        expect({n: t["rows"] for n, t in told.items()} == {"train": 200, "test": 50}, told)
        told = rows(cache, path="example/card", name="talk")
        expect(told["train"]["rows"] == 50, told)
        told = rows(cache, path="example/folders")
        expect({n: t["rows"] for n, t in told.items()} == {"train": 80, "test": 20}, told)
        client.fails("rows", environment(hub, cache), "RuntimeError", path="example/script")
        told = rows(cache, path="example/script", revision="refs/convert/parquet")
        expect({n: t["rows"] for n, t in told.items()} == {"train": 60, "test": 20}, told)
    case("configs in the card, folders, the converted branch", others)


def controlled(cases, root):
    """The server as a program of its own, told at run time what to do."""
    def body():
        with tempfile.TemporaryDirectory() as folder:
            ports = os.path.join(folder, "ports")
            here = os.path.dirname(os.path.abspath(__file__))
            server = subprocess.Popen(
                [sys.executable, os.path.join(here, "server.py"), "--root", root, "--port-file", ports,
                 "--token", f"reader={GOOD}:meta-llama/Llama-3.1-8B", "--scenario",
                 json.dumps({"kind": "status", "code": 503, "path": "^/api/models/gpt2$", "times": 1})],
                stdout=subprocess.DEVNULL)
            try:
                ends = time.monotonic() + 60
                while not os.path.exists(ports):
                    expect(time.monotonic() < ends and server.poll() is None, "the server did not start")
                    time.sleep(0.05)
                with open(ports) as opened:
                    endpoint, other = opened.read().split()
                expect(other.startswith("http://127.0.0.2:"), other)

                def asked(path, body=None, **headers):
                    request = urllib.request.Request(endpoint + path, body and json.dumps(body).encode(), headers)
                    try:
                        with urllib.request.urlopen(request) as answer:
                            return answer.status, answer.read()
                    except urllib.error.HTTPError as error:
                        return error.code, error.read()

                expect([asked("/api/models/gpt2")[0] for _ in range(2)] == [503, 200], "not the scenario given")
                flip = {"kind": "flip", "file": "config.json", "at": 0}
                expect(asked("/_control", {"faults": [flip], "forget": True})[0] == 200, "refused")
                spoiled = asked("/gpt2/resolve/main/config.json")[1]
                expect(asked("/_control", {"clear": True, "settings": {"page_size": 2}})[0] == 200, "refused")
                right = asked("/gpt2/resolve/main/config.json")[1]
                expect(spoiled[0] ^ 1 == right[0] and spoiled[1:] == right[1:], "not flipped")
                expect(len(json.loads(asked("/api/models/gpt2/tree/main?recursive=true")[1])) == 2, "not two a page")
                expect(asked("/_control", {"faults": [{"kind": "nothing"}]})[0] == 400, "an unknown kind was taken")
                gate = "/meta-llama/Llama-3.1-8B/resolve/main/config.json"
                expect([asked(gate)[0], asked(gate, Authorization="Bearer " + GOOD)[0]] == [401, 200], "the gate")
                log = json.loads(asked("/_log")[1])
                expect([e["auth"] for e in log if e["file"] == "config.json"].count(True) == 2, log)
            finally:
                server.terminate()
                server.wait()
    cases.check("the server as a program: scenario, control, log", body)
