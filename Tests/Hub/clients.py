"""The other programs: `huggingface_hub` in three versions, `datasets`, each in an environment of its own, and Coppice.

Environments are made below a folder by pip, once; versions are pinned.
"""

import concurrent.futures
import json
import os
import subprocess
import sys

VERSIONS = ("0.36.0", "1.33.0", "2.4.0")
DATASETS = "datasets-5.2.0"
REQUIREMENTS = {v: [f"huggingface_hub=={v}"] for v in VERSIONS} | {
    DATASETS: ["datasets==5.2.0", "huggingface_hub==2.4.0"]}

# Runs in the other environment: operations as JSON on standard input, a result or an error for each.
PROGRAM = r"""
import json, logging, os, sys
import huggingface_hub as hub

def jsonable(value):
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)

def rows(**arguments):
    import datasets
    loaded = datasets.load_dataset(**arguments)
    split = {name: part for name, part in loaded.items()} if isinstance(loaded, dict) else {"": loaded}
    return {name: {"rows": len(part), "columns": part.column_names, "first": jsonable(part[0])}
            for name, part in split.items()}

def publish(blob, xet_hash, cache, size):
    from pathlib import Path
    from huggingface_hub.utils import _shared_blobs
    return _shared_blobs.publish_blob_to_shared_store(
        blob_path=blob, xet_hash=xet_hash, cache_dir=cache, expected_size=size, replace_existing=False)

def whoami():
    return hub.whoami()["name"]

def scan(folder):
    told = hub.scan_cache_dir(folder)
    return {"names": sorted(r.repo_id for r in told.repos), "warnings": [str(w) for w in told.warnings]}

def delete(folder, name):
    told = hub.scan_cache_dir(folder)
    commits = [r.commit_hash for repo in told.repos if repo.repo_id == name for r in repo.revisions]
    told.delete_revisions(*commits).execute()
    return commits

def absent(repo_id, filename):
    return hub.try_to_load_from_cache(repo_id, filename) is hub.file_download._CACHED_NO_EXIST

def load(repo_id):
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(repo_id)
    tokenizer = transformers.AutoTokenizer.from_pretrained(repo_id)
    return f"{type(model).__name__} {model.num_parameters()} {len(tokenizer)}"

OWN = {function.__name__: function for function in (rows, publish, whoami, scan, delete, absent, load)}
for operation in json.load(sys.stdin):
    name, arguments = operation.pop("call"), operation
    try:
        function = OWN.get(name) or getattr(hub, name)
        print("RESULT " + json.dumps({"value": jsonable(function(**arguments))}), flush=True)
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        print("RESULT " + json.dumps({"error": kinds[0], "kinds": kinds, "message": str(error)}), flush=True)
"""


def environment(hub, cache=None, token=None, offline=False, **more):
    """What a program sees: this endpoint, this HF_HOME, no settings of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "SSL_CERT", "REQUESTS_CA", "CURL_CA"))
            and not k.lower().endswith("_proxy")}
    kept.update({"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                 "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", **more})
    if cache is not None:
        kept["HF_HOME"] = cache
    if token is not None:
        kept["HF_TOKEN"] = token
    if offline:
        kept["HF_HUB_OFFLINE"] = "1"
    return kept


def make_environments(folder, names):
    """Virtual environments below a folder; each is made once."""
    def make(name):
        place = os.path.join(folder, name)
        stamp = os.path.join(place, "ready")
        if not os.path.exists(stamp):
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            pip = [os.path.join(place, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
            subprocess.run([*pip, *REQUIREMENTS[name]], check=True)
            open(stamp, "w").close()
    os.makedirs(folder, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(make, names))


class Client:
    """One of the environments."""

    def __init__(self, folder, name, python=None):
        self.name, self.python = name, python or os.path.join(folder, name, "bin", "python")

    def __str__(self):
        return f"huggingface_hub {self.name}" if self.name in VERSIONS else self.name

    def run(self, operations, variables):
        """A result an operation: {"value": …} or {"error": class, "kinds": classes, "message": …}."""
        done = subprocess.run(
            [self.python, "-c", PROGRAM], input=json.dumps(operations), env=variables, capture_output=True, text=True,
            timeout=300)
        told = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if len(told) != len(operations):
            raise ValueError(f"{self.name}: {len(told)} results of {len(operations)}: {done.stderr[-800:]}")
        return told

    def call(self, name, variables, /, **arguments):
        """One result's value; an error raises."""
        told = self.run([{"call": name, **arguments}], variables)[0]
        if "error" in told:
            raise ValueError(f"{self.name}: {name}: {told['error']}: {told['message'][:500]}")
        return told["value"]

    def fails(self, name, variables, kind, /, **arguments):
        """The message of an error of this class."""
        told = self.run([{"call": name, **arguments}], variables)[0]
        if kind not in told.get("kinds", ()):
            raise ValueError(f"{self.name}: {name}: expected {kind}, found {str(told)[:500]}")
        return told["message"]


class Coppice:
    """The program under test."""

    def __init__(self, binary):
        self.binary = os.path.abspath(binary)

    def run(self, *arguments, env, code=0, timeout=120, **more):
        """Standard output and standard error of a run that is to end in this exit code."""
        done = subprocess.run(
            [self.binary, *arguments], env=env, capture_output=True, text=True, timeout=timeout, errors="replace",
            stdin=subprocess.DEVNULL if "input" not in more else None, **more)
        if code is not None and done.returncode != code:
            told = (done.stdout + done.stderr)[-700:]
            raise ValueError(f"coppice {' '.join(arguments)}: exit {done.returncode}, expected {code}: {told}")
        return done.stdout, done.stderr

    def download(self, *arguments, env, **more):
        """The snapshot's directory."""
        out, _ = self.run("download", *arguments, env=env, **more)
        return out.strip().splitlines()[-1]


class Cases:
    """One line a case, and the last line."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, body):
        try:
            body()
            self.passed += 1
            print(f"ok    {name}", flush=True)
        except Exception as problem:
            self.failed += 1
            where = problem.__traceback__
            while where.tb_next:
                where = where.tb_next
            place = f"{os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}"
            told = " ".join(str(problem).split())[:900]
            print(f"FAIL  {name}: {type(problem).__name__}: {told} ({place})", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def expect(condition, message):
    if not condition:
        raise AssertionError(message)
