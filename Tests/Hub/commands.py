"""Commands around a download, and the network around them: cases of faults.py."""

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile

from bench import ONE, Run, is_right, looked_at, once, variables
from clients import expect
from originals import GOOD, TOKENS
from server import Hub

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


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


def newer(bench):
    """The branch moves on: what is the same is not fetched again, and the older commit is still there."""
    name, hub = "Qwen/Qwen3-8B", bench.hub
    now = hub.repositories["models", name]
    before = dataclasses.replace(now, refs={**now.refs, "main": now.refs["v1.0"]})
    hub.protocol.repositories = {**hub.repositories, ("models", name): before}
    first = bench.fetched(name)
    expect(first.endswith(now.refs["v1.0"]), "another commit")
    hub.protocol.repositories = hub.repositories
    hub.clear()
    second = bench.fetched(name)
    expect(second.endswith(now.refs["main"]), "not the newer commit")
    files = {e["file"] for e in hub.log() if e["method"] == "GET" and e["status"] == 200 and e["etag"]}
    expect(files == {"README.md"}, f"fetched: {files}")
    expect(bench.fetched(name, HF_HUB_OFFLINE="1") == second, "not the newer commit offline")
    expect(bench.fetched(f"{name}@{now.refs['v1.0']}", HF_HUB_OFFLINE="1") == first, "the older commit is gone")


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


def no_room(bench):
    """The disk is full at some time (a limit on files' sizes stands for it): kept, and gone on with."""
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    done = subprocess.run(
        [bench.binary, "download", ONE], env=variables(bench.hub, bench.place, GOOD), cwd=bench.place.cwd,
        preexec_fn=limited, capture_output=True, text=True, timeout=60)
    expect(done.returncode == 1 and "kept" in done.stderr, f"exit {done.returncode}: {done.stderr}")
    had = os.path.getsize(bench.partial)
    expect(had <= 3_000_000, f"{had} bytes are there")
    bench.hub.clear()
    is_right(bench.hub, ONE, bench.fetched())
    first = bench.weights_asked()[0]
    expect(first["start"] == had, f"asked from {first['start']}, and {had} bytes were there")


def protected(bench):
    """https: a certificate that nobody vouches for, then one that is named; never from there to http."""
    hub, place = bench.hub, bench.place
    made = os.path.join(bench.given, "certificate.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", made + ".key", "-out", made,
                    "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2"],
                   check=True, capture_output=True)
    with Hub(None, TOKENS, repositories=hub.repositories, certificate=made) as safe:
        def run(**env):
            ran = Run([bench.binary, "download", ONE], variables(safe, place, GOOD, **env), place.cwd, 60)
            looked_at(ran, place, safe)
            return ran

        ran = run()
        expect(ran.code == 1 and "SSL_CERT_FILE" in ran.told and not safe.log(), f"exit {ran.code}: {ran.told}")
        ran = run(SSL_CERT_FILE=made)
        expect(ran.code == 0, f"exit {ran.code}: {ran.told}")
        is_right(safe, ONE, ran.out.strip().splitlines()[-1])
        safe.fault("redirect", host="hub", path="/resolve/", to=hub.endpoint + "/gpt2/resolve/main/config.json")
        shutil.rmtree(place.cache)
        ran = run(SSL_CERT_FILE=made)
        expect(ran.code == 1 and "redirect" in ran.told and not hub.log(), f"exit {ran.code}: {ran.told}")


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
    "revisions, offline and online": other_revision,
    "what is there is not fetched again": again,
    "a branch that moves on": newer,
    "the hub cannot be reached, and everything is there": gone,
    "--json": as_json,
    "one format of weights, no pickles": one_format,
    "a data set": data_sets,
    "inspect fetches the config alone": only_config("inspect"),
    "plan fetches the config alone": only_config("plan", "--prune_target_params", "3e6", "--ss_channel_divisor", "32"),
    "no room during a download": no_room,
    "https": protected,
    "login": login,
    "cache ls": listed,
    "proxies": proxies,
    "a run on local files opens no libcurl": local_only,
}
