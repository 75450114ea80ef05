"""HTTP/1.1 as bytes on a socket: requests read, answers written, and the ways in which writing can go wrong.

Written by hand and not with `http.server`, because the point is to send what no correct server sends.
"""

import gzip
import http
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

from payloads import bomb

HEAD_LIMIT = 1 << 16
PIECE = 1 << 20


class Closed(Exception):
    """The other side is gone, or the connection is to be closed."""


@dataclass
class Request:
    method: str
    target: str
    headers: dict
    body: bytes = b""


@dataclass
class Answer:
    """`file` is the repository's path of what is delivered, if it is a file; `whole` its bytes, or where they are."""

    status: int = 200
    headers: list = field(default_factory=list)
    body: bytes = b""
    file: str = None
    source: str = None  # a file on the disk in place of `body`
    start: int = 0
    length: int = None  # of the body
    size: int = None  # of the whole file
    close: bool = False

    def header(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def without(self, *names):
        self.headers = [(n, v) for n, v in self.headers if n.lower() not in {name.lower() for name in names}]

    def bytes(self):
        if self.source is None:
            return self.body
        with open(self.source, "rb") as opened:
            opened.seek(self.start)
            return opened.read(self.length)


def read_request(reader):
    """The next request of a connection; None at its end."""
    line = reader.readline(HEAD_LIMIT)
    if not line:
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3:
        raise Closed
    headers = {}
    while True:
        line = reader.readline(HEAD_LIMIT)
        if line in (b"\r\n", b"\n"):
            break
        if not line:
            raise Closed
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length") or 0))
    return Request(parts[0], parts[1], headers, body)


def ranged(answer, header):
    """The answer cut to the range that is asked for: 206, or 416."""
    size = answer.size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not header.startswith("bytes=") or "," in header or not (first + last).isdigit():
        return
    start, end = (int(first), min(int(last) if last else size - 1, size - 1)) if first else (
        max(size - int(last), 0), size - 1)
    if start >= size or end < start:
        answer.status, answer.body, answer.source = 416, b"", None
        answer.headers.append(("Content-Range", f"bytes */{size}"))
        answer.start = answer.length = 0
        return
    answer.status = 206
    answer.headers.append(("Content-Range", f"bytes {start}-{end}/{size}"))
    if answer.source is None:
        answer.body = answer.body[start:end + 1]
    answer.start, answer.length = start, end + 1 - start


class Writer:
    """Writes answers to one socket and counts the bytes of bodies that went out."""

    def __init__(self, connection, rules):
        self.connection, self.rules = connection, rules
        self.sent = 0

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            raise Closed from None

    def head(self, status, headers):
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{n}: {v}" for n, v in headers)]
        self.send("".join(line + "\r\n" for line in (*lines, "")).encode("utf-8"))

    def close(self, reset=False):
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Closed

    def data(self, data, limit=None, rate=None):
        """Sends some of a body, no further than the limit of the whole body; at a rate in bytes a second."""
        if limit is not None:
            data = data[:max(limit - self.sent, 0)]
        step = PIECE if rate is None else max(int(rate / 100), 1)
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            self.send(piece)
            self.sent += len(piece)
            if rate is not None:
                time.sleep(len(piece) / rate)

    def from_disk(self, source, start, length, limit=None, rate=None):
        end = start + (length if limit is None else min(length, max(limit - self.sent, 0)))
        with open(source, "rb") as opened:
            while start < end and isinstance(self.connection, ssl.SSLSocket):
                opened.seek(start)
                self.data(opened.read(min(PIECE, end - start)), rate=rate)
                start += PIECE
            while start < end:
                step = min(end - start, 8 << 20 if rate is None else max(int(rate / 100), 1))
                try:
                    went = os.sendfile(self.connection.fileno(), opened.fileno(), start, step)
                except OSError:
                    raise Closed from None
                if went == 0:
                    raise Closed
                start += went
                self.sent += went
                if rate is not None:
                    time.sleep(went / rate)

    def answer(self, answer, method, faults):
        """Writes an answer as the rules want it; raises Closed when the connection ends with it."""
        self.sent = 0
        faults = {rule["kind"]: rule for rule in faults}
        if answer.status in (200, 206) and method == "GET":
            spoil(answer, faults, self.rules)
        length = answer.length if answer.source is not None else len(answer.body)
        if answer.header("Content-Length") is None:
            declared = length + number(faults, "overstated") - number(faults, "understated")
            answer.headers.append(("Content-Length", str(max(declared, 0))))
        if "drop" in faults:
            answer.without(*faults["drop"]["names"])
        if "change" in faults:
            answer.without(*faults["change"]["values"])
            answer.headers.extend(faults["change"]["values"].items())
        if "headers" in faults:
            rule = faults["headers"]
            answer.headers.extend((f"X-Filler-{n}", "x" * rule.get("size", 100)) for n in range(rule["count"]))
        if "header_line" in faults:
            answer.headers.append(("X-Filler", "x" * faults["header_line"]["bytes"]))
        if "interim" in faults:
            for _ in range(faults["interim"].get("count", 1)):
                self.head(103, [("Link", "</style.css>; rel=preload")])
        chunked = answer.header("Transfer-Encoding") is not None or not faults.keys().isdisjoint(
            {"chunked", "bad_chunk"})
        if (chunked or "until_close" in faults) and method == "GET":
            answer.without("Content-Length", "Transfer-Encoding")
            if chunked:
                answer.headers.append(("Transfer-Encoding", "chunked"))
        ends = answer.close or "overstated" in faults or "understated" in faults or "until_close" in faults
        if ends:
            answer.headers.append(("Connection", "close"))
        self.head(answer.status, answer.headers)
        if method != "HEAD":
            self.body(answer, length, faults, chunked)
        if ends:
            raise Closed

    def body(self, answer, length, faults, chunked):
        limit, rate = None, faults.get("slow", {}).get("rate")
        for kind in ("cut", "stall"):
            if kind in faults:
                limit = self.rules.number(faults[kind].get("bytes", 0))
        if chunked:
            data = answer.bytes()
            for at in range(0, len(data), 4096):
                piece = data[at:at + 4096]
                if "bad_chunk" in faults and at >= length // 2:
                    self.send(b"not hexadecimal\r\n")
                    self.close()
                self.send(b"%x\r\n" % len(piece))
                self.data(piece, limit, rate)
                if limit is not None and self.sent >= limit:
                    break
                self.send(b"\r\n")
            else:
                self.send(b"0\r\n\r\n")
        elif answer.source is not None:
            self.from_disk(answer.source, answer.start, length, limit, rate)
        else:
            self.data(answer.body, limit, rate)
        if "stall" in faults:
            ends = time.monotonic() + faults["stall"].get("seconds", 3600)
            self.connection.settimeout(0.2)
            while time.monotonic() < ends:
                try:
                    if not self.connection.recv(1):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            raise Closed
        if "cut" in faults and self.sent < length:
            self.close(faults["cut"].get("reset", False))


def number(faults, kind):
    return faults[kind].get("bytes", 1) if kind in faults else 0


def spoil(answer, faults, rules):
    """Changes the body and what the headers say of it."""
    if faults.keys() & {"flip", "short", "long", "gzip", "bomb", "wrong_range", "wrong_total"}:
        start, data = answer.start, bytearray(answer.bytes())
        if "flip" in faults:
            at = rules.number(faults["flip"].get("at", 0)) - start
            if 0 <= at < len(data):
                data[at] ^= 1
        if "short" in faults:
            del data[max(len(data) - number(faults, "short"), 0):]
        if "long" in faults:
            data += b"\0" * number(faults, "long")
        if answer.status == 206 and answer.size and faults.keys() & {"wrong_range", "wrong_total"}:
            shift = faults.get("wrong_range", {}).get("shift", 0)
            total = answer.size + number(faults, "wrong_total")
            answer.without("Content-Range")
            answer.headers.append(
                ("Content-Range", f"bytes {start + shift}-{start + shift + len(data) - 1}/{total}"))
        if "gzip" in faults:
            data = gzip.compress(bytes(data))
            answer.headers.append(("Content-Encoding", "gzip"))
        if "bomb" in faults:
            data = bomb(number(faults, "bomb"))
            answer.headers.append(("Content-Encoding", "gzip"))
        answer.body, answer.source = bytes(data), None
        answer.length = len(answer.body)
