"""What a client has to stand: each scenario with how the hub is spoiled and what must come of it.

`code` is the exit code of `coppice download NAME` (None: either, as long as nothing wrong is kept), `says` are regular
expressions that its messages must match. Whatever happens, faults.py looks for tokens where they must not be, for
files outside of the cache, and for anything in it that is not what it seems.
"""

from dataclasses import dataclass, field, replace

from originals import GOOD, STRANGER

ONE = "Qwen/Qwen3-0.6B"
WEIGHTS = "model.safetensors"
CONTENTS = r"(?i)checksum|contents|SHA-256"


@dataclass
class Scenario:
    name: str
    rules: list = field(default_factory=list)
    code: int = 0
    says: tuple = ()
    repository: str = ONE
    arguments: tuple = ()
    token: str = GOOD
    settings: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    recovers: bool = True  # the same command succeeds once the hub is well
    seconds: float = 40
    memory: int = 400 << 20
    gets: int = None  # requests for the weights' bytes; None: any number
    long: bool = False  # takes a minute
    once: bool = False  # each byte of the weights is sent once


def later(found):
    """Of the long form only: much like others."""
    return [replace(scenario, long=True) for scenario in found]


def rule(kind, **members):
    return {"kind": kind, **members}


def cdn(kind, **members):
    return rule(kind, host="cdn", **members)


def api(kind, **members):
    return rule(kind, host="hub", path=r"^/api/models/[^/]+/[^/]+/revision", **members)


def tree(kind, **members):
    return rule(kind, host="hub", path="/tree/", **members)


def small(kind, name="tokenizer.json", **members):
    return rule(kind, host="hub", path="^/api/resolve-cache/", file=name, **members)


def resolve(kind, **members):
    return rule(kind, host="hub", path="/resolve/", method="*", **members)


MENDED = [
    Scenario("nothing is wrong", gets=1, once=True),
    Scenario("a listing in pages of two", settings={"page_size": 2}),
    Scenario("files with a Xet hash", repository="example/xet", gets=1, once=True),
    Scenario("renamed", repository="old-owner/old-name", settings={"moved": {"old-owner/old-name": ONE}}, gets=1),
    Scenario("the hub under another name", [api("redirect", to="other name", code=307)]),
    Scenario("files of the hub under another name", [resolve("redirect", to="other name", code=307)]),
    Scenario("the hub's name before an @", [resolve("redirect", to="name before @", code=307)], None),
    Scenario("odd file names, an empty one, equal ones", repository="example/subfolder", arguments=("--include", "*"),
             gets=1, once=True),
    Scenario("a large file is cut once", [cdn("cut", bytes=100_000, times=1)], gets=2, once=True),
    Scenario("a large file is cut seven times", [cdn("cut", bytes=900_000, times=7)], gets=8, once=True),
    Scenario("a large file is cut before its first byte", [cdn("cut", bytes=0, times=2)], gets=3, once=True),
    Scenario("a connection is reset", [cdn("cut", bytes=3_000_000, reset=True, times=2)]),
    Scenario("a small file is cut", [small("cut", bytes=50_000, times=2)]),
    Scenario("a small file is cut, without a length", [small("chunked"), small("cut", bytes=50_000, times=1)]),
    Scenario("the listing is cut", [tree("cut", bytes=300, times=1)]),
    Scenario("slow", [cdn("slow", rate=8_000_000)], gets=1, once=True),
    Scenario("nothing more comes, once", [cdn("stall", bytes=2_000_000, times=1)],
             env={"HF_HUB_DOWNLOAD_TIMEOUT": "1"}),
    Scenario("one bit differs, once", [cdn("flip", at=5_000_000, times=1)]),
    Scenario("one bit of a small file differs, once", [small("flip", at=70_000, times=1)]),
    Scenario("the range is ignored", [cdn("cut", bytes=2_000_000, times=1), cdn("ignore_range")]),
    Scenario("a signed address has expired", [cdn("expired", times=1)]),
    Scenario("an address expires during a download", [
        cdn("cut", bytes=3_000_000, times=1), cdn("expired", skip=1, times=1)]),
    *later(Scenario(f"429 with Retry-After: {value}", [
        tree("status", code=429, headers={"Retry-After": value}, times=1)]) for value in (
            "Wed, 21 Oct 2015 07:28:00 GMT", "-5", "soon", "", "99999999999999999999999")),
    *later(Scenario(f"429 with RateLimit: {value}", [
        tree("status", code=429, headers={"RateLimit": value}, times=1)]) for value in (
            '"api";r=0;t=-1', '"api"; r=0; t=1', ";;;t=;=", '"api";r=0;t=99999999999999999999999')),
    *later(Scenario(f"redirected by {code}", [api("redirect", to="other name", code=code)])
           for code in (301, 302, 303, 308)),
    Scenario("pages under relative addresses", settings={"page_size": 3, "relative_pages": True}),
    Scenario("429 with Retry-After", [api("status", code=429, headers={"Retry-After": "1"}, times=1)]),
    Scenario("429 with RateLimit", [tree("status", code=429, headers={"RateLimit": '"api";r=0;t=1'}, times=1)]),
    Scenario("429 for a file", [resolve("status", code=429, headers={"Retry-After": "1"}, times=1)]),
    *(Scenario(f"{code}, once each", [
        api("status", code=code, times=1), tree("status", code=code, times=1), cdn("status", code=code, times=1)],
        long=code not in (503, 408)) for code in (500, 502, 503, 504, 408)),
    Scenario("closed without a word", [api("disconnect", times=1), cdn("disconnect", times=1)]),
    Scenario("chunked, without a length", [cdn("chunked"), small("chunked"), tree("chunked")]),
    Scenario("each answer ends within a chunk", [cdn("bad_chunk")], once=True),
    Scenario("until the end of the connection", [cdn("until_close"), tree("until_close")]),
    Scenario("answers with status 103 before", [rule("interim", count=3, method="*")]),
    Scenario("weak checksums", [resolve("change", file=WEIGHTS, values={
        "X-Linked-ETag": 'W/"5df335a0297aca901279ce418b00a27c16c43f94ce6110fb7b1338abe3684cc1"'})]),
    Scenario("headers are missing", [
        rule("drop", method="*", names=["X-Linked-Size", "X-Linked-ETag", "X-Repo-Commit"])]),
    Scenario("compressed without being asked", [small("gzip")], code=None),
]

LIES = [
    Scenario("one bit always differs", [cdn("flip", at=5_000_000)], 1, (CONTENTS, "model.safetensors")),
    Scenario("one bit of a small file always differs", [small("flip", at=70_000)], 1, (CONTENTS, "tokenizer.json")),
    Scenario("the file is shorter than listed", [cdn("short", bytes=1000)], 1, ("model.safetensors",)),
    Scenario("the file is longer than listed", [cdn("long", bytes=1000)], 1, ("model.safetensors",)),
    Scenario("longer, without a length", [cdn("long", bytes=1000), cdn("chunked")], 1, ("model.safetensors",)),
    Scenario("shorter, without a length", [cdn("short", bytes=1000), cdn("chunked")], 1, ("model.safetensors",)),
    Scenario("more bytes announced than sent", [cdn("overstated", bytes=1000)], 1, ("model.safetensors",)),
    Scenario("fewer bytes announced than sent", [cdn("understated", bytes=1000)], 1, ("model.safetensors",)),
    Scenario("the list says larger", [rule("tree_sizes", delta=10)], 1, ("bytes",)),
    Scenario("the list says smaller", [rule("tree_sizes", delta=-10)], 1, ("bytes",)),
    Scenario("the list has other checksums", [rule("tree_oids")], 1, (r"(?i)SHA|contents",)),
    Scenario("more than the disk holds", [rule("tree_sizes", delta=10**15)], 1, (r"(?i)free|room|space",), gets=0),
    Scenario("another range than asked for", [
        cdn("cut", bytes=2_000_000, times=1), cdn("wrong_range", shift=64)], None),
    Scenario("a range of a file of another size", [cdn("cut", bytes=2_000_000, times=1), cdn("wrong_total")], None),
    Scenario("the file has another checksum than listed", [
        resolve("change", file=WEIGHTS, values={"X-Linked-ETag": '"%s"' % ("3" * 64)})], 1, ("model.safetensors",)),
    Scenario("the file has another size than listed", [
        resolve("change", file=WEIGHTS, values={"X-Linked-Size": "7"})], 1, ("model.safetensors",)),
    *later(Scenario(f"a length of {value!r}", [cdn("change", values={"Content-Length": value})], None)
           for value in ("99999999999999999999999", "9223372036854775807", "-5", "abc", "", "1, 2")),
    *later(Scenario(f"a range of {value!r}", [
        cdn("cut", bytes=2_000_000, times=1), cdn("change", skip=1, values={"Content-Range": value})], None)
        for value in (
            "bytes 9223372036854775807-1/7881504", "bytes -", "", "bytes */7881504", "2000000-7881503/7881504",
            "bytes 2000000-7881503/*", "bytes 2000000-99999999999999999999/7881504")),
    *later(Scenario(f"{code} in place of the weights", [cdn("status", code=code)], 1, seconds=60)
           for code in (204, 206, 226, 300, 304, 399, 401, 404, 410, 416, 451, 501, 999)),
    Scenario("a bomb for a small file", [small("bomb", bytes=2 << 30)], 1),
    Scenario("a bomb for the list", [tree("bomb", bytes=2 << 30)], 1),
    Scenario("a bomb for the weights", [cdn("bomb", bytes=2 << 30)], 1),
]

KINDS = [
    Scenario(f"JSON of another kind: {str(value)[:30]}", [api("other_json", value=value)], 1) for value in (
        None, {}, {"sha": "../../../x"}, 7, [], "x", {"sha": 7}, {"sha": "A" * 40}, {"sha": "0" * 39},
        {"sha": ["0" * 40]})]


def listed(**members):
    """An entry of a list."""
    return {"type": "file", "path": "config.json", "size": 1, "oid": "0" * 40, **members}


LISTS = [
    Scenario(f"a list of another kind: {str(value)[:90]}", [tree("other_json", value=value)], 1) for value in (
        [7], [{"type": "file"}], [listed(size=-1)], [listed(size=2**63 - 1)], [listed(oid="../x")], [listed()] * 2,
        None, 7, {}, "x", [[]], [listed(path=7)], [listed(size=1e300)], [listed(size=2**63)], [listed(size="12")],
        [listed(lfs={"oid": "/etc/x", "size": 1})], [listed(lfs=7)],
        [listed(size=2**62), listed(path="a.json", oid="1" * 40, size=2**62)])]

UNUSABLE = [
    Scenario("503 always", [api("status", code=503)], 1, ("503", "later|again")),
    Scenario("503 for the weights, always", [cdn("status", code=503)], 1, ("503",)),
    Scenario("429 for an hour", [api("status", code=429, headers={"Retry-After": "3600"})], 1, ("3600|hour",),
             seconds=5),
    Scenario("429 always", [api("status", code=429, headers={"Retry-After": "0"})], 1, ("limit|429",)),
    Scenario("closed without a word, always", [api("disconnect")], 1, ("cannot be reached|kept",)),
    Scenario("not HTTP", [api("garbage")], 1),
    Scenario("expired always", [cdn("expired")], 1, ("403|expired|may not be read",)),
    Scenario("redirects without end", [api("redirect", to="endless")], 1, ("redirect",)),
    Scenario("redirects without end, for a file", [resolve("redirect", to="endless")], 1, ("redirect",)),
    Scenario("redirected to itself", [resolve("redirect", to="self", code=307)], 1, ("redirect",)),
    Scenario("redirected to a file", [resolve("redirect", to="file:///etc/passwd")], 1, ("redirect",)),
    Scenario("redirected to another scheme", [cdn("redirect", to="gopher://127.0.0.1/x")], 1, ("redirect",)),
    Scenario("redirected into the network", [cdn("redirect", to="http://169.254.169.254/latest/")], 1, ("redirect",)),
    Scenario("redirected to nowhere", [resolve("redirect")], 1, ("redirect",)),
    Scenario("redirected to an address that is none", [resolve("redirect", to="http://[::bad")], 1),
    Scenario("redirected with a password", [resolve("redirect", to="http://user:secret@127.0.0.2:1/")], 1),
    Scenario("the list's pages lead in a circle", [tree("tree_loop")], 1, ("circle|page|loop|twice",), settings={
        "page_size": 3}),
    Scenario("the list has no end", [tree("tree_endless")], 1, settings={"page_size": 200_000},
             seconds=120, memory=700 << 20, long=True),
    Scenario("the list goes on elsewhere", [tree("tree_next", to="http://127.0.0.2:9/x")], 1, ("another server|page",)),
    Scenario("the list goes on in a file", [tree("tree_next", to="file:///etc/passwd")], 1),
    Scenario("300 MB of JSON", [tree("giant", bytes=300 << 20)], 1, seconds=60),
    Scenario("100,000 more headers", [api("headers", count=100_000)], 1),
    Scenario("a header of 10 MB", [api("header_line", bytes=10 << 20)], 1),
    Scenario("a page to sign in", [api("not_json")], 1, ("JSON|hub",)),
    *KINDS[:3], *later(KINDS[3:]),
    *LISTS[:6], *later(LISTS[6:]),
    Scenario("a list that is deep", [tree("status", code=200, body="[" * 200_000)], 1),
]

NAMES = [
    "../x.json", "/OUTSIDE/x.json", "a/../../b.json", "", "a\0b.json", "\u001b[2Jx.json", "d/" * 3000 + "x.json",
    "config.json/x.json", "..\\x.json",
    "../../../../x.safetensors", "a/../../../../../OUTSIDE.json", "..", ".", "a//b.json", "./a.json", "a/./b.json",
    "a/", "C:\\x.json", "a\nb.json", "\u202egpj.json", "x" * 300 + ".json", "~/x.json", "-rf.json",
    "$(touch OUTSIDE).json", "%2e%2e/x.json", "a/%2e%2e/%2e%2e/b.json", "..%2fx.json"]
HARMLESS = ["CONFIG.JSON", "Config.json", ".git/config", ".git/hooks/post-checkout", "con.json", "blobs/x.json"]

HOSTILE = [
    *(Scenario(f"a file named {name[:24]!r}", [rule("tree_names", names=[name])], None, arguments=("--include", "*"),
               long=n > 8) for n, name in enumerate(NAMES)),
    Scenario("files that are named alike", [rule("tree_names", names=HARMLESS)], None, arguments=("--include", "*")),
    Scenario("hostile names that nobody asks for", [rule("tree_names", names=["../../x.bin", "/OUTSIDE/y"])], None),
]

ACCESS = [
    Scenario("gated, without a token", [], 1, ("meta-llama/Llama-3.1-8B", "coppice login", "ENDPOINT/meta-llama/Llama"),
             "meta-llama/Llama-3.1-8B", token=None, recovers=False),
    Scenario("gated, not granted", [], 1, ("ENDPOINT/meta-llama/Llama-3.1-8B", "(?i)access|accept"),
             "meta-llama/Llama-3.1-8B", token=STRANGER, recovers=False),
    Scenario("gated, granted", repository="meta-llama/Llama-3.1-8B", gets=1, once=True),
    Scenario("a token that is none", [], 1, ("token", "coppice login"), token="hf_wrongwrongwrong", recovers=False),
    Scenario("a token with a line break", [], 1, ("token|HF_TOKEN",), token="hf_wrong\nInjected: yes", recovers=False),
    Scenario("private, without a token", [], 1, ("example/private", "coppice login"), "example/private", token=None,
             recovers=False),
    Scenario("private, granted", repository="example/private"),
    Scenario("no such model", [], 1, ("Qwen/Qwen3-8C", "ENDPOINT/Qwen/Qwen3-8C"), "Qwen/Qwen3-8C", recovers=False),
    Scenario("no such model, without a token", [], 1, ("Qwen/Qwen3-8C",), "Qwen/Qwen3-8C", token=None, recovers=False),
    Scenario("no such revision", [], 1, ("v9", "revision"), arguments=("--revision", "v9"), recovers=False),
    Scenario("no such file", [], 1, ("nothing.json",), arguments=("--include", "nothing.json"), recovers=False),
    Scenario("taken down", [], 1, ("example/disabled", "disabled"), "example/disabled", recovers=False),
    Scenario("no safetensors", [], 1, ("safetensors",), "example/pickles", recovers=False, gets=0),
    Scenario("only through Xet", [], 1, ("Xet",), "example/xet-only", recovers=False),
    Scenario("offline, and not there", [], 1, ("(?i)offline", ONE), env={"HF_HUB_OFFLINE": "1"}, recovers=False,
             gets=0),
    Scenario("no server there", [], 1, ("127.0.0.1:9|reach",), env={"HF_ENDPOINT": "http://127.0.0.1:9"}),
    Scenario("an endpoint that is no address", [], None, ("HF_ENDPOINT",), env={"HF_ENDPOINT": "ftp://x"}),
    Scenario("a cache that is no folder", [], 1, ("/dev/null",), env={"HF_HUB_CACHE": "/dev/null/x"}),
    *(Scenario(f"a name that is none: {name!r}", [], None, (), name, recovers=False, gets=0, long=n > 2)
      for n, name in enumerate((
          "../x", "a/b@../../x", "", "a/b/c", "a/..", "/etc/passwd", "a b/c", "-x", "a/b@", "a\nb"))),
]

ALL = {
    "mended": MENDED, "lies": LIES, "unusable": UNUSABLE, "hostile names": HOSTILE, "access": ACCESS,
}
