"""A hub on loopback that behaves as the Hugging Face hub does, and misbehaves as told.

    python server.py --root DIR [--scenario '{"kind": "cut", …}']… [--token NAME=TOKEN[:REPOSITORY,…]]… [--port-file F]

    with Hub(root, tokens={"hf_x": {"name": "reader", "granted": ["*"]}}) as hub:
        hub.fault("cut", host="cdn", file="*.safetensors", bytes=1000, times=1)
        run(HF_ENDPOINT=hub.endpoint)
        hub.log()

Two hosts: the hub, and the one that large files are redirected to, under another address, so that a token which
reaches it is seen. Rules of what goes wrong are in rules.py; folders that are served in stored.py. At run time, also
from another process: `POST /_control` with {"clear": true, "faults": [rule, …], "settings": {…}, "forget": true};
`GET /_log` is the log. Standard library only.
"""

import argparse
import io
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time

from payloads import giant
from protocol import Protocol, answer_json, error, storage_error
from rules import DELIVERY, INSTEAD, Rules
from stored import read_repositories
from wire import Answer, Closed, Writer, ranged, read_request


class Hub:
    """The two hosts. `endpoint` is for HF_ENDPOINT, `cdn` the other host's address."""

    def __init__(self, root, tokens=None, hosts=("127.0.0.1", "127.0.0.2"), seed=0, port=0, repositories=None,
                 certificate=None):
        self.tokens = tokens or {}
        self.rules = Rules(seed)
        self.lock = threading.Lock()
        self.entries = []
        self.open = set()
        self.listeners = {name: listening(host, port if name == "hub" else 0)
                          for name, host in zip(("hub", "cdn"), hosts)}
        self.tls = None
        if certificate:  # the key is beside it
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, certificate + ".key")
        self.endpoint, self.cdn = (
            f"http{'s' if certificate else ''}://{listener.getsockname()[0]}:{listener.getsockname()[1]}"
            for listener in self.listeners.values())
        self.settings = {
            "page_size": 1000, "signature_seconds": 3600, "endpoint": self.endpoint, "cdn": self.cdn,
            "relative_pages": False, "moved": {}}  # names of repositories that have another one now
        self.repositories = read_repositories(root) if repositories is None else repositories
        self.protocol = Protocol(self.repositories, self.tokens, self.rules, self.settings)
        for name, listener in self.listeners.items():
            threading.Thread(target=self.accept, args=(name, listener), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """No connection is accepted any more, and those that are open end."""
        for listener in self.listeners.values():
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        self.hang_up()

    def hang_up(self):
        """Every open connection ends where it is; how many there were."""
        with self.lock:
            count = len(self.open)
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return count

    def fault(self, kind, **members):
        return self.rules.add({"kind": kind, **members})

    def clear(self):
        """No faults from now on, and an empty log."""
        self.rules.clear()
        self.log_anew()

    def log_anew(self):
        with self.lock:
            self.entries = []

    def log(self):
        """What was asked and answered: one dictionary a request, in the order in which they came.

        `host` hub or cdn, `method`, `path`, `range` as asked, `auth` whether there was an Authorization header,
        `leaked` whether one of the hub's tokens reached another origin in any form, `status`, `file` the path in the
        repository, `etag` the checksum of what it holds, `start` the first byte sent, `sent` bytes of the body that
        went out, `done` when all of it did, `ended` when no more will; `proxied` the authority where the hub was asked
        as a proxy.
        """
        with self.lock:
            return [dict(entry) for entry in self.entries]

    def settled(self, seconds=5):
        """The log, once nothing more is being sent."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not all(entry["ended"] for entry in self.log()):
            time.sleep(0.002)
        return self.log()

    # Connections

    def accept(self, name, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(name, connection), daemon=True).start()

    def converse(self, host, connection):
        with self.lock:
            self.open.add(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                plain, connection = connection, self.tls.wrap_socket(connection, server_side=True)
                with self.lock:
                    self.open.discard(plain)
                    self.open.add(connection)
            reader = io.BufferedReader(socket.SocketIO(connection, "r"), 1 << 16)
            writer = Writer(connection, self.rules)
            while True:
                request = read_request(reader)
                if request is None:
                    return
                if request.target in ("/_control", "/_log"):
                    writer.answer(self.control(request), request.method, [])
                    continue
                self.respond(*self.addressed(host, request), writer)
        except (Closed, OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(connection)
            connection.close()

    def addressed(self, host, request):
        """Which host is meant, where the hub is used as a proxy."""
        if not request.target.startswith("http://"):
            return host, request
        authority, _, path = request.target[7:].partition("/")
        request.target, request.headers["via-proxy"] = "/" + path, authority
        return "cdn" if self.cdn.endswith(authority) else "hub", request

    def respond(self, host, request, writer):
        entry = {
            "host": host, "method": request.method, "path": request.target, "range": request.headers.get("range"),
            "auth": "authorization" in request.headers, "agent": request.headers.get("user-agent", ""),
            "leaked": self.leaked(host, request), "status": None, "file": None, "etag": None,
            "proxied": request.headers.get("via-proxy"), "start": 0, "sent": 0, "done": False, "ended": False,
            "at": time.monotonic()}
        with self.lock:
            self.entries.append(entry)
        try:
            answer = self.protocol.hub(request) if host == "hub" else self.protocol.cdn(request)
        except Exception as problem:  # a mistake of the server's own must be seen, not taken for a scenario
            print(f"hub: {request.method} {request.target}: {type(problem).__name__}: {problem}", file=sys.stderr)
            answer = Answer(500, [], repr(problem).encode())
        method = request.method
        for rule in self.rules.acting(INSTEAD, host, method, request.target, answer.file):
            answer = self.instead(rule, request, answer, writer)
        delivery = self.rules.acting(DELIVERY, host, method, request.target, answer.file)
        asked = request.headers.get("range")
        if answer.status == 200 and answer.size is not None and asked:
            if not any(rule["kind"] == "ignore_range" for rule in delivery):
                ranged(answer, asked)
        entry.update(status=answer.status, file=answer.file, start=answer.start)
        if answer.size is not None and host == "cdn":
            entry["etag"] = request.target.partition("?")[0].rsplit("/", 1)[-1]
        elif answer.size is not None:
            entry["etag"] = (answer.header("ETag") or "").removeprefix("W/").strip('"')
        try:
            writer.answer(answer, method, delivery)
            entry["done"] = True
        finally:
            entry.update(sent=writer.sent, ended=True)

    def leaked(self, host, request):
        """Whether a token came to whom it was not meant for: another host, or another name of this one."""
        told = request.target + "".join(request.headers.values())
        if "bearer" not in told.lower() and not any(token in told for token in self.tokens):
            return False
        named = request.headers.get("host") == self.endpoint.partition("://")[2]
        return host != "hub" or not (named or "via-proxy" in request.headers)

    def instead(self, rule, request, answer, writer):
        """What a rule gives in place of the answer."""
        kind = rule["kind"]
        if kind == "status":
            body = rule.get("body", "").encode()
            return Answer(rule["code"], list(rule.get("headers", {}).items()), body, file=answer.file)
        if kind == "redirect":
            to, headers = rule.get("to"), []
            if to == "endless":
                to = f"{request.target.partition('?')[0]}?again={time.monotonic_ns()}"
            elif to == "self":
                to = request.target
            elif to in ("other name", "name before @"):
                # Another origin, which happens to be this server.
                if request.headers.get("host", "").startswith("localhost"):
                    return answer
                authority = self.endpoint.partition("://")[2]
                before = authority + "@" if "@" in to else ""
                to = f"http://{before}localhost:{authority.rpartition(':')[2]}{request.target}"
            if to is not None:
                headers = [("Location", to)]
            kept = [(n, v) for n, v in answer.headers if n.startswith("X-")] if rule.get("keep_headers") else []
            return Answer(rule.get("code", 302), headers + kept, b"", file=answer.file)
        if kind == "expired":
            return storage_error(403, "AccessDenied", "Request has expired", answer.file)
        if kind == "not_json":
            body = b"<html><body>Sign in to this network</body></html>"
            return Answer(200, [("Content-Type", "application/json")], body)
        if kind == "other_json":
            return answer_json(rule.get("value", {"sha": 7, "siblings": "none"}))
        if kind == "giant":
            kind = [("Content-Type", "application/json")]
            return Answer(200, kind, source=giant(rule["bytes"]), length=rule["bytes"])
        if kind == "garbage":
            writer.send(bytes(range(256)) * 8)
        raise Closed

    # From another process

    def control(self, request):
        if request.method == "GET":
            return answer_json(self.log())
        try:
            asked = json.loads(request.body)
            if asked.get("clear"):
                self.rules.clear()
            if asked.get("forget"):
                self.log_anew()
            self.settings.update(asked.get("settings", {}))
            for rule in asked.get("faults", []):
                self.rules.add(rule)
            return answer_json({"rules": len(self.rules.rules)})
        except (ValueError, AttributeError, TypeError) as problem:
            return error(400, str(problem))


def listening(host, port):
    """Where only one address of the machine's own is set up, the hosts differ by their ports."""
    try:
        return socket.create_server((host, port), backlog=256)
    except OSError:
        if host == "127.0.0.1":
            raise
        return socket.create_server(("127.0.0.1", port), backlog=256)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="folder with models/ and datasets/")
    parser.add_argument("--scenario", action="append", default=[], help="a rule as JSON; may be repeated")
    parser.add_argument("--token", action="append", default=[], metavar="NAME=TOKEN[:REPOSITORY,...]")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", help="file for the addresses of the endpoint and the other host, a line each")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tokens = {}
    for given in arguments.token:
        name, _, rest = given.partition("=")
        token, _, granted = rest.partition(":")
        tokens[token] = {"name": name, "granted": granted.split(",") if granted else ["*"]}
    with Hub(arguments.root, tokens, seed=arguments.seed, port=arguments.port) as hub:
        for rule in arguments.scenario:
            hub.rules.add(json.loads(rule))
        if arguments.port_file:
            with open(arguments.port_file + ".new", "w", encoding="utf-8") as opened:
                opened.write(f"{hub.endpoint}\n{hub.cdn}\n")
            os.replace(arguments.port_file + ".new", arguments.port_file)
        print(hub.endpoint, flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
