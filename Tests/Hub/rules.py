"""What can go wrong at the test hub: rules that say which answers are spoiled, how, and how often.

A rule is a dictionary (or the keyword arguments of `Hub.fault`). Which answers it meets:

    host         "hub" or "cdn"; both by default
    method       "GET" or "HEAD"; GET by default, "*" for any
    path         regular expression searched in the undecoded path and query
    file         glob for the path of the file in its repository (answers that carry a file)
    times        how often it acts (by default always), after the first `skip` answers that it meets
    probability  by chance, from the hub's seeded generator

and `kind`, with the kind's own members:

  instead of the answer
    status       code, headers={}, body=""
    redirect     to=URL, code=302; "endless": a new address of the same host each time; "self"; "other name": this
                 server as localhost; "name before @": the same, with the hub's name as a user's; absent: no Location
    disconnect   closed without a word; garbage: bytes that are no HTTP
    giant        bytes=N of JSON, a list of numbers; not_json; other_json: JSON of an unexpected shape
    expired      the signed address is out of date (403, as storage hosts say it)
  in listings (tree and revision)
    tree_names   names=[...]: files under these paths besides the true ones
    tree_sizes   delta=N added to each size; tree_oids: checksums of other contents
    tree_loop    every page names the first as the next one; tree_endless: there is always another page
    tree_next    to=URL: the next page is elsewhere
  in what is delivered
    cut          bytes=N or [low, high]: the connection closes after N bytes of the body; reset=true by RST
    slow         rate=bytes a second; stall: nothing more after bytes=N, for seconds=3600
    flip         at=N: one bit of the byte at that place of the file is inverted
    short, long  bytes=N less or more than the file has, declared as such
    overstated, understated   the length declared is bytes=N more or less than what is sent
    wrong_range  shift=N: a 206 that says (and sends) another range; wrong_total: another whole size
    ignore_range 200 and everything in answer to a range
    gzip         compressed without being asked; bomb: bytes=N of zeros, compressed
    chunked      without a length; until_close: neither, the end of the connection is the end; bad_chunk
    headers      count=N more headers of size=N bytes; header_line: one of bytes=N; interim: 103 answers before it
    drop         names=[...]: headers left out; change: values={name: value} set
"""

import fnmatch
import random
import re
import threading

INSTEAD = {"status", "redirect", "disconnect", "garbage", "giant", "not_json", "other_json", "expired"}
LISTING = {"tree_names", "tree_sizes", "tree_oids", "tree_loop", "tree_endless", "tree_next"}
DELIVERY = {
    "cut", "slow", "stall", "flip", "short", "long", "overstated", "understated", "wrong_range", "wrong_total",
    "ignore_range", "gzip", "bomb", "chunked", "until_close", "bad_chunk", "headers", "header_line", "interim", "drop",
    "change"}


class Rules:
    """The rules in force; safe to ask from many threads."""

    def __init__(self, seed=0):
        self.lock = threading.Lock()
        self.rules = []
        self.random = random.Random(seed)

    def add(self, rule):
        rule = dict(rule)
        if rule.get("kind") not in INSTEAD | LISTING | DELIVERY:
            known = ", ".join(sorted(INSTEAD | LISTING | DELIVERY))
            raise ValueError(f"kind of fault: found {rule.get('kind')!r}, expected one of {known}")
        rule.setdefault("method", "GET")
        rule["met"], rule["acted"] = 0, 0
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear(self):
        with self.lock:
            self.rules.clear()

    def acting(self, kinds, host, method, path, file):
        """The rules of these kinds that spoil this answer, counted as having acted."""
        chosen = []
        with self.lock:
            for rule in self.rules:
                if rule["kind"] not in kinds or not self.meets(rule, host, method, path, file):
                    continue
                rule["met"] += 1
                if rule["met"] <= rule.get("skip", 0) or rule["acted"] >= rule.get("times", float("inf")):
                    continue
                if self.random.random() >= rule.get("probability", 1):
                    continue
                rule["acted"] += 1
                chosen.append(rule)
        return chosen

    @staticmethod
    def meets(rule, host, method, path, file):
        if rule.get("host", host) != host or rule["method"] not in ("*", method):
            return False
        if "path" in rule and not re.search(rule["path"], path):
            return False
        return "file" not in rule or (file is not None and fnmatch.fnmatchcase(file, rule["file"]))

    def number(self, value):
        """A number that a rule gives, or one by chance from the pair that it gives."""
        if isinstance(value, (list, tuple)):
            with self.lock:
                return self.random.randint(*value)
        return value
