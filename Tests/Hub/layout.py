"""A cache folder as a list of entries, to compare what two programs made of the same repository."""

import hashlib
import os


def listing(folder):
    """Relative path -> ("link", target), ("file", SHA-256, mode) or ("folder",); links are not followed."""
    found = {}
    for directory, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            whole = os.path.join(directory, name)
            path = os.path.relpath(whole, folder)
            if os.path.islink(whole):
                found[path] = ("link", os.readlink(whole))
            elif os.path.isdir(whole):
                found[path] = ("folder",)
            else:
                with open(whole, "rb") as opened:
                    digest = hashlib.sha256(opened.read()).hexdigest()
                found[path] = ("file", digest, oct(os.stat(whole).st_mode & 0o777))
    return found


def compare(mine, theirs, without=()):
    """Lines that say what differs; paths that contain one of `without` are left out."""
    def kept(found):
        return {path: entry for path, entry in found.items() if not any(part in path for part in without)}

    mine, theirs = kept(mine), kept(theirs)
    told = [f"only in the first: {path} {mine[path]}" for path in sorted(mine.keys() - theirs.keys())]
    told += [f"only in the second: {path} {theirs[path]}" for path in sorted(theirs.keys() - mine.keys())]
    return told + [
        f"{path}: {mine[path]} and {theirs[path]}" for path in sorted(mine.keys() & theirs.keys())
        if mine[path] != theirs[path]]


def problems(cache):
    """What must hold in every cache: links are relative and end inside it in whole files; blobs have the checksum that
    names them."""
    from stored import git_oid

    told, root = [], os.path.realpath(cache)
    for directory, folders, files in os.walk(cache):
        for name in [*folders, *files]:
            whole = os.path.join(directory, name)
            path = os.path.relpath(whole, cache)
            if os.path.islink(whole):
                target, end = os.readlink(whole), os.path.realpath(whole)
                if os.path.isabs(target):
                    told.append(f"{path}: an absolute link to {target}")
                if not (end + os.sep).startswith(root + os.sep):
                    told.append(f"{path}: a link out of the cache, to {end}")
                elif not os.path.isfile(end):
                    told.append(f"{path}: a link to nothing, {target}")
            elif os.path.isfile(whole) and os.path.basename(directory) == "blobs" and "--" in os.path.dirname(path):
                if len(name) not in (40, 64) or not all(c in "0123456789abcdef" for c in name):
                    continue  # partial files, named otherwise
                with open(whole, "rb") as opened:
                    data = opened.read()
                if (git_oid(data) if len(name) == 40 else hashlib.sha256(data).hexdigest()) != name:
                    told.append(f"{path}: holds {len(data)} bytes with another checksum")
            elif os.path.isfile(whole) and os.sep + "refs" + os.sep in os.sep + path:
                with open(whole, "rb") as opened:
                    told += [] if len(opened.read()) == 40 else [f"{path}: not 40 characters"]
    return told


def check(cache):
    """Raises with what is wrong in a cache."""
    found = problems(cache)
    if found:
        raise AssertionError(f"{len(found)} things wrong in the cache: {found[:3]}")
