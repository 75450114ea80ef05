"""Caches that one program makes and another uses: cases of interoperability.py, for one version of huggingface_hub."""

import json
import os
import re
import shutil
import subprocess
import tempfile

from clients import Coppice, environment, expect
from layout import check, compare, listing
from originals import GOOD, gets, same_files, served

ONE, SHARDED = "Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B"


class Both:
    """A cache, a version of huggingface_hub, and Coppice."""

    def __init__(self, hub, client, coppice, home):
        self.hub, self.client, self.coppice, self.home = hub, client, coppice, home
        self.cache = os.path.join(home, "hub")

    def env(self, offline=False, **more):
        home = {"HOME": self.home, "COPPICE_CACHE": os.path.join(self.home, "coppice"), **more}
        return environment(self.hub, self.home, GOOD, offline, **home)

    def theirs(self, call="snapshot_download", /, offline=False, **arguments):
        if call not in ("scan", "delete"):
            arguments.setdefault("repo_id", ONE)
        return self.client.call(call, self.env(offline), **arguments)

    def warnings(self):
        """What it finds strange in the cache; 0.36 does not know the tag that later versions of it make, too."""
        return [w for w in self.theirs("scan", folder=self.cache)["warnings"] if "CACHEDIR.TAG" not in w]

    def ours(self, *arguments, offline=False, code=0):
        """The snapshot; or, of a run that is to fail, what it says."""
        if code:
            _, told = self.coppice.run("download", *arguments, env=self.env(offline), code=code)
            return " ".join(told.split())
        return self.coppice.download(*arguments, env=self.env(offline))

    def folder(self, name, kind="models"):
        return os.path.join(self.cache, f"{kind}--" + name.replace("/", "--"))


def used_by_coppice(both):
    """A whole snapshot of theirs: no request offline, and online none but for the revision."""
    hub = both.hub
    for name, kind, more in ((SHARDED, "model", []), ("gpt2", "model", []), (
            "example/card", "dataset", ["--repo_type", "dataset"])):
        folder = both.theirs(repo_id=name, repo_type=kind)
        hub.clear()
        before = listing(both.cache)
        expect(both.ours(name, *more, offline=True) == folder, "another folder")
        expect(not hub.log(), f"{name}: requests offline: {[e['path'] for e in hub.log()]}")
        expect(both.ours(name, *more) == folder, "another folder")
        asked = [f"{e['method']} {e['path']}" for e in hub.log()]
        expect(not gets(hub) and all("/api/" in path for path in asked) and len(asked) <= 2, f"{name}: {asked}")
        changes = compare(before, listing(both.cache), ["/.coppice", "/trees", "/.no_exist", ".locks"])
        expect(not changes, changes)
        if kind == "model":
            hub.clear()
            both.coppice.run("inspect", "--hf_model_name_or_path", name, env=both.env(offline=True))
            expect(not hub.log(), "inspect asks offline")
            both.coppice.run("inspect", "--hf_model_name_or_path", name, env=both.env())
            expect(len(hub.log()) <= 1 and not gets(hub), f"inspect: {[e['path'] for e in hub.log()]}")


def single_files(both):
    """Files that they fetched one by one, as programs do that load a model."""
    entries = served(both.hub, "models", ONE)
    for path in entries:
        if path not in (".gitattributes", "README.md", "LICENSE"):
            both.theirs("hf_hub_download", filename=path)
    both.client.run([{"call": "hf_hub_download", "repo_id": ONE, "filename": "added_tokens.json"}], both.env())
    both.hub.clear()
    folder = both.ours(ONE, offline=True)
    expect(os.path.exists(os.path.join(folder, "model.safetensors")) and not both.hub.log(), "asked offline")
    both.coppice.run("inspect", "--hf_model_name_or_path", ONE, env=both.env(offline=True))
    expect(not both.hub.log(), "asked offline")
    expect(both.ours(ONE) == folder, "another folder")
    expect({e["file"] for e in gets(both.hub)} <= {"README.md", "LICENSE"}, "fetched again")


def parts(both):
    """A part that they fetched is completed, not fetched again."""
    folder = both.theirs(repo_id=SHARDED, allow_patterns=["config.json", "model-00002*", "*.index.json"])
    both.hub.clear()
    told = both.ours(SHARDED, offline=True, code=1)
    expect("HF_HUB_OFFLINE" in told and not both.hub.log(), told)
    expect(both.ours(SHARDED) == folder, "another folder")
    again = {e["file"] for e in gets(both.hub)} & {"config.json", "model-00002-of-00005.safetensors"}
    expect(not again, f"fetched again: {again}")
    same_files(folder, served(both.hub, "models", SHARDED), exactly=False)


def revisions(both):
    for revision in ("feature/longer", "v1.0", "refs/pr/1"):
        folder = both.theirs(repo_id=SHARDED, revision=revision)
        both.hub.clear()
        expect(both.ours(SHARDED, "--revision", revision, offline=True) == folder, f"{revision}: another folder")
        expect(both.ours(f"{SHARDED}@{os.path.basename(folder)}", offline=True) == folder, "by commit: another folder")
    told = both.ours(SHARDED, offline=True, code=1)
    expect("feature/longer" in told and "v1.0" in told, told)


def unfinished(both):
    """What they had left unfinished is not taken for anything."""
    both.hub.fault("cut", host="cdn", bytes=3_000_000)
    process = subprocess.Popen(
        [both.client.python, "-c", f"import huggingface_hub; huggingface_hub.snapshot_download({ONE!r})"],
        env=both.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    both.hub.clear()
    told = both.ours(ONE, offline=True, code=1)
    expect("HF_HUB_OFFLINE" in told, told)
    same_files(both.ours(ONE), served(both.hub, "models", ONE), exactly=False)


def store(both):
    """Blobs in the store that repositories share: two links to follow, references noted, nothing fetched again."""
    name, entry = "example/xet", served(both.hub, "models", "example/xet")["model.safetensors"]
    folder = both.theirs(repo_id=name)
    blob = os.path.join(both.folder(name), "blobs", entry.etag)
    publish = {"call": "publish", "blob": blob, "xet_hash": entry.xet_hash, "cache": both.cache, "size": entry.size}
    told = both.client.run([publish], both.env())[0]
    expect(told.get("value") == "True" or told.get("value") is True, f"not published: {told}")
    expect(os.path.islink(blob), "no link into the store")
    check(both.cache)
    both.hub.clear()
    expect(both.ours(name, offline=True) == folder and not both.hub.log(), "not used")
    both.coppice.run("inspect", "--hf_model_name_or_path", name, env=both.env(offline=True))
    # The repository is gone and its contents are in the store: linked, and noted there.
    shutil.rmtree(both.folder(name))
    expect(both.ours(name) == folder, "another folder")
    expect(not [e for e in gets(both.hub) if e["host"] == "cdn"], "fetched what is in the store")
    expect(os.path.islink(blob), "no link into the store")
    check(both.cache)
    both.theirs(offline=True, repo_id=name, allow_patterns=["*.json", "*.safetensors"])
    # Another repository with the same contents goes: ours must still be whole.
    other = os.path.join(both.folder("example/other"), "blobs", entry.etag)
    os.makedirs(os.path.dirname(other))
    os.symlink(os.readlink(blob), other)
    snapshot = os.path.join(both.folder("example/other"), "snapshots", "0" * 40)
    os.makedirs(snapshot)
    os.symlink(f"../../blobs/{entry.etag}", os.path.join(snapshot, "model.safetensors"))
    both.theirs("delete", folder=both.cache, name="example/other")
    expect(not os.path.lexists(other) and os.path.exists(blob), "the store's blob went with another repository")
    both.theirs("delete", folder=both.cache, name=name)
    expect(not os.path.lexists(blob), "not deleted")


def used_by_them(both):
    """What Coppice fetched: theirs takes it, offline and online, and fetches only what Coppice does not want."""
    for name in (ONE, SHARDED, "gpt2"):
        folder = both.ours(name)
        both.hub.clear()
        for offline in (True, False):
            found = both.theirs(offline=offline, repo_id=name, local_files_only=True)
            expect(found == folder, f"{found}, not {folder}")
        expect(both.theirs(offline=True, repo_id=name) == folder, "another folder offline")
        for path in ("config.json", "tokenizer.json"):
            found = both.theirs("hf_hub_download", offline=True, repo_id=name, filename=path)
            expect(found == os.path.join(folder, path), found)
        expect(not both.hub.log(), "a request offline")
        expect(both.theirs("absent", repo_id=name, filename="added_tokens.json"), "what is not there is not noted")
        expect(name in both.theirs("scan", folder=both.cache)["names"], "not seen")
        expect(not both.warnings(), both.warnings())
        expect(both.theirs(repo_id=name) == folder, "another folder")
        fetched = {e["file"] for e in gets(both.hub)}
        expect(fetched <= {".gitattributes"}, f"fetched again: {fetched}")
        same_files(folder, served(both.hub, "models", name))
        expect(both.theirs(offline=True, repo_id=name) == folder, "another folder offline")


def used_by_them_more(both):
    """Data sets, revisions, parts, and deleting."""
    folder = both.ours("example/card", "--repo_type", "dataset")
    expect(both.theirs(offline=True, repo_id="example/card", repo_type="dataset") == folder, "another folder")
    for revision in ("feature/longer", "refs/pr/1"):
        folder = both.ours(SHARDED, "--revision", revision)
        expect(both.theirs(offline=True, repo_id=SHARDED, revision=revision) == folder, "another folder")
    folder = both.ours(ONE, "--include", "config.json")
    expect(both.theirs("hf_hub_download", offline=True, filename="config.json").startswith(folder), "another folder")
    both.hub.clear()
    same_files(both.theirs(), served(both.hub, "models", ONE))
    expect("config.json" not in {e["file"] for e in gets(both.hub)}, "fetched again")
    both.theirs("delete", folder=both.cache, name=ONE)
    expect(not both.warnings(), both.warnings())
    told = both.ours(ONE, offline=True, code=1)
    expect("HF_HUB_OFFLINE" in told, told)
    same_files(both.ours(ONE), served(both.hub, "models", ONE), exactly=False)


def layouts(both):
    """Entry by entry: the same repository, fetched whole by either."""
    # Locks: 0.36 makes them for their owner alone, later versions for the group.
    older = ["/trees", ".lock"] if both.client.name == "0.36.0" else []
    without = ["CACHEDIR.TAG", ".no_exist", "/.coppice", *older]
    for name, kind, more in ((SHARDED, "model", []), ("example/subfolder", "model", []), ("gpt2", "model", []), (
            "example/card", "dataset", ["--repo_type", "dataset"])):
        both.ours(name, *more, "--include", "*")
        both.theirs(repo_id=name, repo_type=kind, cache_dir=os.path.join(both.home, "theirs"))
    mine, theirs = listing(both.cache), listing(os.path.join(both.home, "theirs"))
    with open(os.path.join(both.cache, "CACHEDIR.TAG")) as tag:
        expect(tag.readline() == "Signature: 8a477f597d28d172789f06886806bc55\n", "another tag")
    empty = ("file", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "0o644")
    noted = {path: entry for path, entry in mine.items() if ".no_exist" in path and entry[0] != "folder"}
    expect(all(entry == empty for entry in noted.values()), noted)
    told = compare(mine, theirs, without)
    # The lists are compared by what they say.
    lists = [line for line in told if re.search(r"/trees/\w+\.json: ", line)]
    expect(len(told) == len(lists), [line for line in told if line not in lists])
    for path in (line.partition(": ")[0] for line in lists):
        with open(os.path.join(both.cache, path)) as mine, open(os.path.join(both.home, "theirs", path)) as theirs:
            first, second = json.load(mine), json.load(theirs)
        expect(first == second, f"{path}: another list")


def tokens(both):
    """Whoever logs in, both know the token."""
    gated, saved = "meta-llama/Llama-3.1-8B", os.path.join(both.home, "token")
    nameless = {k: v for k, v in both.env().items() if k != "HF_TOKEN"}
    both.client.call("login", nameless, token=GOOD)
    expect(both.coppice.download(gated, env=nameless), "no snapshot")
    for name in os.listdir(both.home):
        if "token" in name:
            os.unlink(os.path.join(both.home, name))
    both.coppice.run("download", "example/private", env=nameless, code=1)
    out, err = both.coppice.run("login", "--token", GOOD, env=nameless)
    expect("reader" in out + err and GOOD not in out + err, out + err)
    expect(os.path.isfile(saved), "not saved")
    expect(both.client.call("whoami", nameless) == "reader", "another user")
    both.client.call("snapshot_download", nameless, repo_id="example/private")


def loaded_by_transformers(both):
    """What Coppice fetched is a model for transformers, offline."""
    both.ours(ONE)
    both.hub.clear()
    expect(both.client.call("load", both.env(offline=True), repo_id=ONE) == "Qwen3ForCausalLM 3935936 2048", "another")
    expect(not both.hub.log(), "a request offline")


def at_once(both):
    """Both fetch the same model at the same time: each byte once, and both succeed."""
    both.hub.fault("slow", host="cdn", rate=4_000_000)
    program = f"import huggingface_hub; print(huggingface_hub.snapshot_download({ONE!r}))"
    processes = [
        subprocess.Popen(command, env=both.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in ([both.client.python, "-c", program], [both.coppice.binary, "download", ONE])]
    told = [process.communicate(timeout=60) for process in processes]
    expect([p.returncode for p in processes] == [0, 0], told)
    expect(told[0][0].strip() == told[1][0].strip(), told)
    sent = sum(e["sent"] for e in gets(both.hub) if e["host"] == "cdn")
    expect(sent == 7_881_504, f"{sent} bytes of 7881504 were sent")


CASES = {
    "its snapshots are used": used_by_coppice,
    "files that it fetched one by one are used": single_files,
    "a part that it fetched is completed": parts,
    "revisions that it fetched are used": revisions,
    "what it left unfinished is not used": unfinished,
    "its shared store is used": store,
    "it uses ours": used_by_them,
    "it uses ours: data sets, revisions, parts, deleting": used_by_them_more,
    "the layouts are the same": layouts,
    "both at once": at_once,
    "tokens of either are used": tokens,
}

OF_TRANSFORMERS = {"it loads what Coppice fetched": loaded_by_transformers}


def exchanged(cases, hub, client, binary, chosen=CASES):
    for name, body in chosen.items():
        if body is store and client.name == "0.36.0":
            continue

        def fresh(body=body):
            hub.clear()
            hub.settings.update(page_size=1000, signature_seconds=3600)
            with tempfile.TemporaryDirectory() as home:
                body(Both(hub, client, Coppice(binary), home))
                check(os.path.join(home, "hub"))
                expect(not any(e["leaked"] for e in hub.log()), "a token reached the other host")
        cases.check(f"{client} and Coppice: {name}", fresh)
