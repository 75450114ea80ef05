"""What the hub says of repositories: information on a revision, its tree in pages, refs."""

import base64
import hashlib
import json
from dataclasses import replace
from urllib.parse import parse_qs, urlencode

from rules import LISTING
from stored import small_entry
from wire import Answer


def answer_json(value, status=200, headers=()):
    body = json.dumps(value, ensure_ascii=False).encode()
    return Answer(status, [("Content-Type", "application/json; charset=utf-8"), *headers], body)


def error(status, message, code=None, headers=()):
    told = [("X-Error-Message", message), *headers]
    if code:
        told.insert(0, ("X-Error-Code", code))
    return answer_json({"error": message}, status, told)


class Listings:
    """The routes below /api/{models,datasets}/ID that name files without giving them."""

    def __init__(self, rules, settings):
        self.rules, self.settings = rules, settings
        self.invented = {}

    def refs(self, repository):
        listed = {"branches": [], "converts": [], "tags": []}
        for ref, sha in repository.refs.items():
            if ref.startswith("refs/convert/"):
                listed["converts"].append({"name": ref.split("/")[-1], "ref": ref, "targetCommit": sha})
            elif ref in repository.tags:
                listed["tags"].append({"name": ref, "ref": f"refs/tags/{ref}", "targetCommit": sha})
            elif not ref.startswith("refs/"):
                listed["branches"].append({"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": sha})
        return listed

    def information(self, repository, revision, query):
        entries = self.listed(repository, revision)
        siblings = [{"rfilename": entry.path} for entry in entries]
        if query.get("blobs"):
            for sibling, entry in zip(siblings, entries):
                sibling.update(size=entry.size, blobId=entry.oid)
                if entry.lfs:
                    sibling["lfs"] = {"sha256": entry.lfs, "size": entry.size, "pointerSize": entry.pointer_size}
        told = {
            "_id": hashlib.sha1(repository.id.encode()).hexdigest()[:24], "id": repository.id, "sha": revision.sha,
            "author": repository.id.split("/")[0], "private": repository.private, "gated": repository.gated,
            "disabled": repository.disabled, "downloads": 1, "likes": 0, "tags": [], "siblings": siblings,
            "lastModified": "2026-01-02T03:04:05.000Z", "createdAt": "2026-01-01T00:00:00.000Z", "usedStorage": 0}
        if repository.kind == "models":
            told.update(modelId=repository.id, library_name="transformers")
        return told

    def paths_info(self, request, revision):
        try:
            asked = json.loads(request.body)["paths"]
        except ValueError:
            asked = parse_qs(request.body.decode()).get("paths", [])
        folders = revision.folders()
        found = [revision.entries[p].described() for p in asked if p in revision.entries]
        return found + [{"type": "directory", "oid": "0" * 40, "size": 0, "path": p} for p in asked if p in folders]

    def listed(self, repository, revision):
        """The entries as listings tell them, which is where hubs can lie."""
        entries = list(revision.entries.values())
        rules = self.rules.acting(LISTING, "hub", "GET", f"/api/{repository.kind}/{repository.id}", None)
        for rule in rules:
            if rule["kind"] == "tree_names":
                hostile = [small_entry(name, b"this was written outside of the cache\n") for name in rule["names"]]
                entries += hostile
                # Whoever believes in such a name and asks for it is to get it: a client must not rely on a 404.
                self.invented.update({entry.path: entry for entry in hostile})
            elif rule["kind"] == "tree_sizes":
                entries = [replace(e, size=max(e.size + rule["delta"], 0)) for e in entries]
            elif rule["kind"] == "tree_oids":
                entries = [replace(e, oid="1" * 40, lfs=e.lfs and "2" * 64) for e in entries]
        return entries

    def tree(self, request, repository, revision, name, folder, query):
        recursive = query.get("recursive", "false").lower() in ("true", "1")
        start = folder + "/" if folder else ""
        entries = [e for e in self.listed(repository, revision) if e.path.startswith(start)]
        folders = [f for f in revision.folders() if f.startswith(start)]
        if folder and not entries:
            return error(
                404, f"{folder} does not exist on \"{name}\"", "EntryNotFound", [("X-Repo-Commit", revision.sha)])
        rows = [{"type": "directory", "oid": hashlib.sha1(f.encode()).hexdigest(), "size": 0, "path": f}
                for f in folders]
        rows += [e.described() for e in entries]
        if not recursive:
            rows = [r for r in rows if "/" not in r["path"][len(start):]]
        rows.sort(key=lambda r: r["path"])
        if query.get("expand", "false").lower() in ("true", "1"):
            for row in rows:
                row["lastCommit"] = {"id": revision.sha, "title": "files", "date": "2026-01-02T03:04:05.000Z"}
        at = int(base64.urlsafe_b64decode(query["cursor"])) if query.get("cursor") else 0
        size = min(int(query.get("limit") or self.settings["page_size"]), self.settings["page_size"])
        headers = [("X-Repo-Commit", revision.sha)]
        following = at + size if at + size < len(rows) else None
        to = None
        for rule in self.rules.acting({"tree_next"}, "hub", "GET", request.target, None):
            to = rule["to"]
        if self.rules.acting({"tree_loop"}, "hub", "GET", request.target, None):
            following = 0
        if self.rules.acting({"tree_endless"}, "hub", "GET", request.target, None):
            return self.filler(request, at, size)
        if following is not None or to:
            headers.append(("Link", f'<{to or self.page(request, following)}>; rel="next"'))
        return answer_json(rows[at:at + size], headers=headers)

    def page(self, request, at):
        """The address of the page of a listing that begins at this entry."""
        path, _, query = request.target.partition("?")
        kept = {k: v[-1] for k, v in parse_qs(query, keep_blank_values=True).items() if k != "cursor"}
        cursor = base64.urlsafe_b64encode(str(at).encode()).decode()
        start = "" if self.settings["relative_pages"] else self.settings["endpoint"]
        return f"{start}{path}?{urlencode({**kept, 'cursor': cursor})}"

    def filler(self, request, at, size):
        """A page of files that are not there, and another after it."""
        entry = '{"type": "file", "path": "filler-%d.txt", "size": 0, "oid": "' + small_entry("", b"").oid + '"}'
        body = "[" + ",".join(entry % n for n in range(at, at + size)) + "]"
        return Answer(200, [("Link", f'<{self.page(request, at + size)}>; rel="next"')], body.encode())
