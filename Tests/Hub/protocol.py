"""What the hub answers: the routes that its clients use, as they can be seen from the clients' side.

Observed and read from `huggingface_hub` 0.36, 1.33 and 2.4 and `datasets` 5.2, not from any other client: this is
what others are measured by.
"""

import gzip
import hashlib
import hmac
import re
import time
from urllib.parse import parse_qs, quote, unquote, urlencode

from listings import Listings, answer_json, error
from wire import Answer

KINDS = ("models", "datasets")
VERBS = ("revision", "tree", "refs", "paths-info", "xet-read-token", "resolve")
TEXT = (".json", ".txt", ".md", ".jinja", ".yaml", ".yml", ".csv", ".jsonl", ".model", ".py")
SECRET = b"only to tell old addresses from new ones"


class Protocol(Listings):
    """Answers requests from repositories; knows nothing of sockets."""

    def __init__(self, repositories, tokens, rules, settings):
        super().__init__(rules, settings)
        self.repositories, self.tokens = repositories, tokens
        self.objects = {}
        for repository in repositories.values():
            for revision in repository.revisions.values():
                for entry in revision.entries.values():
                    if entry.lfs:
                        self.objects.setdefault(self.stored_at(repository, entry), (entry, repository))

    # Who asks

    def token(self, request):
        given = request.headers.get("authorization")
        return given.removeprefix("Bearer ") if given is not None else None

    def user(self, request):
        return self.tokens.get(self.token(request))

    def refused(self, repository, user, files):
        """None, or the answer to those who may not: to the repository's files, or to what is said of it."""
        known = user is not None
        granted = known and ("*" in user.get("granted", ()) or repository.id in user.get("granted", ()))
        if repository.disabled:
            return error(403, "Access to this resource is disabled.")
        if repository.private and not granted:
            return self.not_found(user)
        if repository.gated and files and not granted:
            page = f"{self.settings['endpoint']}/{self.prefix(repository)}{repository.id}"
            if not known:
                return error(
                    401, f"Access to model {repository.id} is restricted. You must have access to it and be"
                    " authenticated to access it. Please log in.", "GatedRepo")
            return error(
                403, f"Access to model {repository.id} is restricted and you are not in the authorized list. Visit"
                f" {page} to ask for access.", "GatedRepo")
        return None

    def not_found(self, user):
        if user is None:
            return error(401, "Invalid username or password.", "RepoNotFound")
        return error(404, "Repository not found", "RepoNotFound")

    @staticmethod
    def prefix(repository):
        return "" if repository.kind == "models" else repository.kind + "/"

    # Routes of the hub

    def hub(self, request):
        path, _, query = request.target.partition("?")
        parts = path.strip("/").split("/")
        query = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if self.token(request) is not None and self.user(request) is None:
            return error(401, "Invalid credentials in Authorization header")
        if parts == ["api", "whoami-v2"]:
            user = self.user(request)
            if user is None:
                return error(401, "Invalid username or password.")
            return answer_json({
                "type": "user", "id": "0" * 24, "name": user["name"], "fullname": user["name"], "isPro": False,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": "read"}}})
        if parts[:2] == ["api", "resolve-cache"] and len(parts) > 2 and parts[2] in KINDS:
            return self.cached_file(request, parts[2], parts[3:])
        if parts[0] == "api" and len(parts) > 1 and parts[1] in KINDS:
            return self.api(request, parts[1], parts[2:], query)
        if "resolve" in parts:
            kind = parts[0] if parts[0] in KINDS else "models"
            return self.resolve(request, kind, parts[1:] if parts[0] in KINDS else parts)
        return error(404, "Sorry, we can't find the page you are looking for.")

    def split(self, parts):
        """The identifier, the verb, and the rest: names have one part or two."""
        for length in (1, 2):
            if length == len(parts) or (length < len(parts) and parts[length] in VERBS):
                return "/".join(unquote(p) for p in parts[:length]), parts[length:length + 1], parts[length + 1:]
        return "/".join(parts), [None], []

    @staticmethod
    def split_revision(rest):
        """Encoded it is one part; refs/pr/1 and refs/convert/parquet are known without encoding, too."""
        if rest[:1] == ["refs"] and len(rest) > 2 and rest[1] in ("pr", "convert"):
            return "/".join(rest[:3]), rest[3:]
        return (unquote(rest[0]), rest[1:]) if rest else ("main", [])

    def find(self, kind, identifier, request, files):
        """The repository, or the answer in its place."""
        if identifier in self.settings["moved"]:
            to = self.settings["moved"][identifier]
            location = request.target.replace(identifier, to, 1)
            return None, Answer(307, [("Location", location)], b"Temporary Redirect")
        repository, user = self.repositories.get((kind, identifier)), self.user(request)
        if repository is None:
            return None, self.not_found(user)
        return repository, self.refused(repository, user, files)

    def api(self, request, kind, parts, query):
        identifier, verb, rest = self.split(parts)
        repository, refused = self.find(kind, identifier, request, files=False)
        if refused:
            return refused
        if verb == ["refs"]:
            return answer_json(self.refs(repository))
        name, rest = self.split_revision(rest)
        revision = repository.revision(name)
        if revision is None:
            return error(404, f"Invalid rev id: {name}", "RevisionNotFound")
        if verb in ([], ["revision"]) and not rest:
            return answer_json(self.information(repository, revision, query))
        if verb == ["tree"]:
            return self.tree(request, repository, revision, name, "/".join(unquote(p) for p in rest), query)
        if verb == ["paths-info"] and request.method == "POST":
            return answer_json(self.paths_info(request, revision))
        if verb == ["xet-read-token"]:
            return error(503, "Xet storage is not served here; use plain HTTP")
        return error(404, "Sorry, we can't find the page you are looking for.")

    # Files

    def resolve(self, request, kind, parts):
        identifier, verb, rest = self.split(parts)
        if verb != ["resolve"] or not rest:
            return error(404, "Sorry, we can't find the page you are looking for.")
        repository, refused = self.find(kind, identifier, request, files=True)
        if refused:
            return refused
        name, rest = self.split_revision(rest)
        revision = repository.revision(name)
        if revision is None:
            return error(404, f"Invalid rev id: {name}", "RevisionNotFound")
        path = "/".join(unquote(p) for p in rest)
        entry = revision.entries.get(path) or self.invented.get(path)
        commit = [("X-Repo-Commit", revision.sha)]
        if entry is None:
            return error(404, "Entry not found", "EntryNotFound", commit)
        headers = [
            *commit, ("Accept-Ranges", "bytes"), ("X-Linked-Size", str(entry.size)),
            ("X-Linked-ETag", f'"{entry.etag}"'), ("Vary", "Origin, Accept")]
        if not entry.lfs:
            encoded = f"{identifier}/{revision.sha}/{quote(path)}"
            to = f"/api/resolve-cache/{kind}/{encoded}?{quote(request.target, safe='')}=&etag=%22{entry.oid}%22"
            body = f"Temporary Redirect. Redirecting to {to}".encode()
            return Answer(307, [("Location", to), *headers], body, file=path)
        if entry.xet_hash:
            token = f"{self.settings['endpoint']}/api/{kind}/{identifier}/xet-read-token/{revision.sha}"
            headers += [("X-Xet-Hash", entry.xet_hash), ("Link", f'<{token}>; rel="xet-auth"')]
        to = self.signed(repository, entry, path, time.time() + self.settings["signature_seconds"])
        return Answer(302, [("Location", to), *headers], f"Found. Redirecting to {to}".encode(), file=path)

    def cached_file(self, request, kind, parts):
        for length in (1, 2):
            identifier = "/".join(parts[:length])
            if (kind, identifier) in self.repositories and len(parts) > length + 1:
                break
        else:
            return error(404, "Entry not found", "EntryNotFound")
        repository, refused = self.find(kind, identifier, request, files=True)
        if refused:
            return refused
        revision = repository.revision(unquote(parts[length]))
        path = "/".join(unquote(p) for p in parts[length + 1:])
        entry = (revision.entries.get(path) or self.invented.get(path)) if revision else None
        if entry is None:
            return error(404, "Entry not found", "EntryNotFound", [("X-Repo-Commit", revision.sha)] if revision else ())
        etag = f'"{entry.oid}"'
        answer = self.whole(entry, path, [("X-Repo-Commit", revision.sha), ("Content-Disposition", disposition(path))])
        wants_gzip = "gzip" in request.headers.get("accept-encoding", "")
        if wants_gzip and request.method == "GET" and path.endswith(TEXT) and "range" not in request.headers:
            answer.body, answer.source = gzip.compress(answer.bytes()), None
            answer.headers += [("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]
            etag = "W/" + etag
        answer.headers.append(("ETag", etag))
        return answer

    @staticmethod
    def whole(entry, path, headers):
        kind = "application/json" if path.endswith(".json") else "application/octet-stream"
        answer = Answer(
            200, [("Content-Type", kind), ("Accept-Ranges", "bytes"), *headers], entry.data or b"", file=path,
            source=entry.file, length=entry.size, size=entry.size)
        return answer

    # The other host

    @staticmethod
    def stored_at(repository, entry):
        owner = hashlib.sha256(f"{repository.kind}/{repository.id}".encode()).hexdigest()
        return f"/repos/{owner[:2]}/{owner[2:4]}/{owner}/{entry.lfs}"

    def signed(self, repository, entry, path, expires):
        query = {"response-content-disposition": disposition(path), "Expires": str(int(expires))}
        told = self.stored_at(repository, entry)
        signature = hmac.new(SECRET, f"{told}{query['Expires']}".encode(), "sha256").hexdigest()
        return f"{self.settings['cdn']}{told}?{urlencode({**query, 'Signature': signature})}"

    def cdn(self, request):
        path, _, query = request.target.partition("?")
        query = {name: values[-1] for name, values in parse_qs(query).items()}
        name = re.search(r'filename="(.*)"', query.get("response-content-disposition", ""))
        file = unquote(name.group(1)) if name else None
        expires = query.get("Expires", "0")
        signature = hmac.new(SECRET, f"{path}{expires}".encode(), "sha256").hexdigest()
        stored = self.objects.get(path)
        if "authorization" in request.headers:
            return storage_error(401, "InvalidArgument", "Only one auth mechanism allowed", file)
        if stored is None:
            return storage_error(404, "NoSuchKey", "The specified key does not exist.", file)
        entry, repository = stored
        if repository.xet_only:
            return storage_error(403, "AccessDenied", "This object is only available through Xet.", file)
        if not hmac.compare_digest(signature, query.get("Signature", "")) or not expires.isdigit():
            return storage_error(403, "SignatureDoesNotMatch", "The signature does not match.", file)
        if int(expires) < time.time():
            return storage_error(403, "AccessDenied", "Request has expired", file)
        etag = '"%s"' % hashlib.md5(entry.lfs.encode()).hexdigest()  # not the file's checksum, as there
        return self.whole(entry, file or entry.path, [("ETag", etag), ("Content-Disposition", disposition(entry.path))])


def disposition(path):
    return f"inline; filename*=UTF-8''{quote(path)}; filename=\"{quote(path)}\";"


def storage_error(status, code, message, file=None):
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, [("Content-Type", "application/xml")], body.encode(), file=file)
