"""Caches that someone has been at: cases of faults.py."""

import fcntl
import json
import os
import threading

from bench import ONE, is_right, once
from clients import expect
from layout import problems


def replace_by_link(path, target):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def link_out(which):
    def body(bench):
        bench.fetched()
        outside = bench.outside()
        replace_by_link(bench.pointer if which == "pointer" else bench.blob, outside)
        for env in ({"HF_HUB_OFFLINE": "1"}, {}):
            run = bench.run(ONE, checked=False, **env)
            expect(run.code in (0, 1), f"exit {run.code}: {run.told}")
            expect(run.code == 1 or not problems(bench.place.cache), f"taken for the model: {run.told}")
            with open(outside, "rb") as opened:
                expect(opened.read(15) == b"not the model's", "the file outside was written")
    return body


def snapshot_link_out(bench):
    folder = bench.fetched()
    os.rename(folder, os.path.join(bench.given, "snapshot"))
    os.symlink(os.path.join(bench.given, "snapshot"), folder)
    run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
    expect(run.code == 1, f"exit {run.code}: {run.told}")


def refs(bench):
    bench.fetched()
    path = os.path.join(bench.repository, "refs", "main")
    for text in ("", "../../../../etc", "0" * 40, bench.revision.sha + "\n", "0" * 100_000, "\n", "x" * 40):
        with open(path, "w") as opened:
            opened.write(text)
        run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
        expect(run.code == (0 if text.strip() == bench.revision.sha else 1), f"{text[:50]!r}: {run.code}: {run.told}")
    bench.fetched()
    with open(path) as opened:
        expect(opened.read() == bench.revision.sha, "the ref was not put right")


def junk_partial(size):
    def body(bench):
        os.makedirs(os.path.dirname(bench.partial))
        with open(bench.partial, "wb") as opened:
            opened.write(b"junk" * (size // 4))
        is_right(bench.hub, ONE, bench.fetched())
    return body


def partial_link(bench):
    outside = bench.outside()
    replace_by_link(bench.partial, outside)
    before = os.stat(outside)
    run = bench.run(ONE, checked=False)
    after = os.stat(outside)
    expect((before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns), "the file outside was written")
    with open(outside, "rb") as opened:
        expect(opened.read(15) == b"not the model's", "the file outside was written")
    expect(run.code == 1 or not problems(bench.place.cache), f"the link was kept: {run.told}")


def partial_folder(bench):
    os.makedirs(bench.partial)
    run = bench.run(ONE)
    expect(run.code in (0, 1) and (run.code == 0 or bench.entry.etag[:8] in run.told), run.told)


def incomplete_of_others(bench):
    os.makedirs(os.path.dirname(bench.blob))
    for name in (".incomplete", ".0123abcd.incomplete"):
        with open(bench.blob + name, "wb") as opened:
            opened.write(b"junk" * 1000)
    is_right(bench.hub, ONE, bench.fetched())
    once(bench.hub, bench.entry.size)


def half_blob(bench):
    bench.fetched()
    os.truncate(bench.blob, 1_000_000)
    is_right(bench.hub, ONE, bench.fetched())
    os.truncate(bench.blob, 1_000_000)
    run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
    expect(run.code == 1, f"half a file was taken for whole: {run.told}")


def lost_blob(bench):
    bench.fetched()
    os.unlink(bench.blob)
    run = bench.run(ONE, checked=False, HF_HUB_OFFLINE="1")
    expect(run.code == 1, f"a file that is not there was taken for whole: {run.told}")
    is_right(bench.hub, ONE, bench.fetched())


def lists(bench):
    sha = bench.revision.sha
    for folder in ("trees", ".coppice"):
        for text in (
                "", "[", "{}", "[" * 100_000, json.dumps({"format_version": 2, "files": {}}),
                json.dumps({"format_version": 1, "files": {"../../x.json": {"size": 1, "blob_id": "0" * 40}}}),
                json.dumps({"format_version": 1, "files": {"config.json": {"size": -1, "blob_id": "../../../x"}}}),
                json.dumps({"format_version": 1, "files": [7]})):
            path = os.path.join(bench.repository, folder, sha + ".json")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as opened:
                opened.write(text)
            run = bench.run(ONE)
            expect(run.code == 0, f"{folder} {text[:40]!r}: exit {run.code}: {run.told}")


def held_lock(bench):
    path = os.path.join(bench.place.cache, ".locks", "models--Qwen--Qwen3-0.6B", bench.entry.etag + ".lock")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        released = []

        def release():
            released.append(len(bench.weights_asked()))
            fcntl.flock(opened, fcntl.LOCK_UN)

        threading.Timer(2, release).start()
        is_right(bench.hub, ONE, bench.fetched())
        expect(released == [0], f"fetched while another had the lock: {released}")


CASES = {
    "a link of a snapshot leads out of the cache": link_out("pointer"),
    "a blob is a link out of the cache": link_out("blob"),
    "a snapshot is a link out of the cache": snapshot_link_out,
    "refs that name no commit": refs,
    "a partial file of something else": junk_partial(3_000_000),
    "a partial file that is longer than the file": junk_partial(9_000_000),
    "a partial file that is a link": partial_link,
    "a partial file that is a folder": partial_folder,
    "partial files of other programs": incomplete_of_others,
    "a blob that is cut short": half_blob,
    "a blob that is gone": lost_blob,
    "lists of files that are none": lists,
    "another program has the lock": held_lock,
}
