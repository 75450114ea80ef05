"""What the test hub serves: repositories read from folders, with the identifiers that git and LFS would give them.

A repository is a folder with a `repository.json`, found at ROOT/{models,datasets}/[OWNER/]NAME:

    {"revisions": {"main": "main", "refs/convert/parquet": "converted"},   ref or tag -> subfolder with its files
     "commits": ["old"],            subfolders that only a commit id names
     "tags": ["v1.0"],              which of the revisions are tags
     "gated": "auto", "private": true, "disabled": true,
     "xet": true,                   large files have a Xet hash
     "xet_only": true,              and the other host does not give them over plain HTTP
     "lfs": ["tokenizer.json"]}     patterns of large files beside the usual ones; a leading "!" takes one out
"""

import fnmatch
import hashlib
import json
import os
from dataclasses import dataclass, field

LARGE = ("*.safetensors", "*.bin", "*.pth", "*.pt", "*.gguf", "*.onnx", "*.h5", "*.parquet", "*.arrow", "*.gz", "*.zst")
LARGE_SIZE = 10 << 20


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A file of a revision. `data` or `file` holds its bytes; `lfs` is the SHA-256 of a large one."""

    path: str
    size: int
    oid: str
    lfs: str = None
    pointer_size: int = 0
    xet_hash: str = None
    file: str = None
    data: bytes = None

    @property
    def etag(self):
        return self.lfs or self.oid

    def described(self):
        """As the tree route and paths-info describe it."""
        told = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        if self.lfs:
            told["lfs"] = {"oid": self.lfs, "size": self.size, "pointerSize": self.pointer_size}
        if self.xet_hash:
            told["xetHash"] = self.xet_hash
        return told


def small_entry(path, data):
    """A file that exists only in an answer."""
    return Entry(path=path, size=len(data), oid=git_oid(data), data=data)


@dataclass
class Revision:
    sha: str
    entries: dict

    def folders(self):
        found = set()
        for path in self.entries:
            parts = path.split("/")[:-1]
            found.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
        return found


@dataclass
class Repository:
    kind: str  # models or datasets
    id: str
    refs: dict = field(default_factory=dict)  # ref -> sha
    revisions: dict = field(default_factory=dict)  # sha -> Revision
    tags: list = field(default_factory=list)
    gated: object = False
    private: bool = False
    disabled: bool = False
    xet: bool = False
    xet_only: bool = False

    def revision(self, name):
        """By ref, tag, `refs/heads/…`, or a commit id of seven digits or more; None when there is none."""
        if name in self.refs:
            return self.revisions[self.refs[name]]
        for prefix in ("refs/heads/", "refs/tags/"):
            if name.startswith(prefix) and name[len(prefix):] in self.refs:
                return self.revisions[self.refs[name[len(prefix):]]]
        if len(name) >= 7 and all(c in "0123456789abcdef" for c in name):
            return next((r for sha, r in self.revisions.items() if sha.startswith(name)), None)
        return None


def is_large(path, size, patterns):
    name = os.path.basename(path)

    def matches(pattern):
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(path, pattern)

    if any(p.startswith("!") and matches(p[1:]) for p in patterns):
        return False
    return size > LARGE_SIZE or any(matches(p) for p in (*LARGE, *patterns) if not p.startswith("!"))


def read_entry(file, path, description):
    size = os.path.getsize(file)
    if not is_large(path, size, description.get("lfs", ())):
        with open(file, "rb") as opened:
            return Entry(path=path, size=size, oid=git_oid(opened.read()), file=file)
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else None
        if digest is None:  # Python 3.10
            hashed = hashlib.sha256()
            for block in iter(lambda: opened.read(1 << 20), b""):
                hashed.update(block)
            digest = hashed.hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode()
    xet = description.get("xet") or description.get("xet_only")
    return Entry(
        path=path, size=size, oid=git_oid(pointer), lfs=digest, pointer_size=len(pointer),
        # Xet's own hash is another one; only that it is 64 digits and follows the content matters here.
        xet_hash=hashlib.sha256(b"xet" + digest.encode()).hexdigest() if xet else None, file=file)


def read_revision(folder, name, description):
    entries = {}
    for directory, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            whole = os.path.join(directory, file)
            path = os.path.relpath(whole, folder).replace(os.sep, "/")
            entries[path] = read_entry(whole, path, description)
    listing = "".join(f"{e.oid} {p}\n" for p, e in sorted(entries.items()))
    return Revision(hashlib.sha1(f"commit {name}\n{listing}".encode()).hexdigest(), entries)


def read_repository(folder, kind, identifier):
    with open(os.path.join(folder, "repository.json"), encoding="utf-8") as opened:
        description = json.load(opened)
    repository = Repository(kind, identifier, tags=description.get("tags", []))
    for flag in ("gated", "private", "disabled", "xet", "xet_only"):
        setattr(repository, flag, description.get(flag, False))
    read = {}
    for place in (*description["revisions"].values(), *description.get("commits", ())):
        if place not in read:
            read[place] = read_revision(os.path.join(folder, place), f"{kind}/{identifier}/{place}", description)
            repository.revisions[read[place].sha] = read[place]
    repository.refs = {ref: read[place].sha for ref, place in description["revisions"].items()}
    return repository


def read_repositories(root):
    """All repositories below a folder, by (kind, id)."""
    found = {}
    for kind in ("models", "datasets"):
        top = os.path.join(root, kind)
        for directory, folders, files in os.walk(top):
            if "repository.json" in files:
                folders.clear()
                identifier = os.path.relpath(directory, top).replace(os.sep, "/")
                found[kind, identifier] = read_repository(directory, kind, identifier)
    return found
