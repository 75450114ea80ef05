#!/usr/bin/env python3
"""Compares `BINARY encode` and `BINARY decode` with the `tokenizers` library on hostile strings.

    python tokenizers_compare.py --binary PATH [--count 20000] [--seed N] [DIR ...]

For every tokenizer directory (by default those of Tests/Goldens/tokenizers, Examples/model where there is one, and one
with SentencePiece's whole character map made on the spot): COUNT strings encoded with and without special tokens, then
the ids, and as many random lists of ids, decoded with and without special tokens. Prints what differs, exits 1 if anything does.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ.setdefault("RUST_BACKTRACE", "0")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
from tokenizers import Tokenizer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Goldens/tokenizers"))
import hostile  # noqa: E402


def ask(binary, command, folder, lines, *flags):
    """One answer per line. Lines go in as JSON in ASCII, so that any scalar survives the pipe."""
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    process = subprocess.run([binary, command, "--hf_model_name_or_path", str(folder), *flags], input=data, capture_output=True)
    if process.returncode != 0:
        print(f"{folder}: {command} failed: {process.stderr.decode()[-500:]}")
    return [json.loads(line) for line in process.stdout.decode().split("\n") if line]


@contextlib.contextmanager
def silenced():
    """What the library panics at it also prints, with its stack; nobody here wants to read that."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def guarded(function, value):
    """The library's answer; None where it fails or panics."""
    try:
        return function(value)
    except BaseException as error:  # a panic of the library is a BaseException
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def compare(what, inputs, wanted, got, show):
    differences = 0
    if len(got) != len(inputs):
        print(f"  {what}: {len(got)} answers to {len(inputs)} lines")
        differences += 1
    for text, want, have in zip(inputs, wanted, got):
        if want is None or want == have:
            continue
        differences += 1
        if differences <= show:
            print(f"  {what} {json.dumps(text)}\n    library {json.dumps(want)}\n    ours    {json.dumps(have)}")
    return differences


def check(folder, arguments):
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    tokens = [entry.content for entry in library.get_added_tokens_decoder().values()]
    texts = hostile.strings(arguments.count, arguments.seed, tokens)
    differences = 0
    encoded = {}
    for special in (True, False):
        with silenced():
            wanted = [guarded(lambda text: library.encode(text, add_special_tokens=special).ids, text) for text in texts]
        usable = [(text, ids) for text, ids in zip(texts, wanted) if ids is not None]
        skipped = len(texts) - len(usable)
        flags = [] if special else ["--no_special_tokens"]
        got = ask(arguments.binary, "encode", folder, [text for text, _ in usable], *flags)
        differences += compare(f"encode{' '.join([''] + flags)}", [text for text, _ in usable], [ids for _, ids in usable], got, arguments.show)
        encoded[special] = [ids for _, ids in usable]
    random_ = random.Random(arguments.seed)
    known = sorted(library.get_vocab(with_added_tokens=True).values())
    lists = encoded[True] + [[random_.choice(known) for _ in range(random_.randint(0, 12))] for _ in range(arguments.count)]
    for skip in (False, True):
        with silenced():
            wanted = [guarded(lambda ids: library.decode(ids, skip_special_tokens=skip), ids) for ids in lists]
        usable = [(ids, text) for ids, text in zip(lists, wanted) if text is not None]
        flags = ["--skip_special_tokens"] if skip else []
        got = ask(arguments.binary, "decode", folder, [ids for ids, _ in usable], *flags)
        differences += compare(f"decode{' '.join([''] + flags)}", [ids for ids, _ in usable], [text for _, text in usable], got, arguments.show)
    print(f"{folder.name}: {len(texts)} strings ({skipped} the library itself fails on), {len(lists)} id lists, {differences} differences")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=5, help="differences to print for each tokenizer and kind")
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folders = arguments.folders
        if not folders:
            make = ROOT / "Tests/Goldens/tokenizers/make.py"
            subprocess.run([sys.executable, str(make), "--full", "--out", temporary], check=True, stdout=subprocess.DEVNULL)
            places = [ROOT / "Tests/Goldens/tokenizers", pathlib.Path(temporary), ROOT / "Examples"]
            folders = sorted(file.parent for place in places if place.is_dir() for file in place.glob("*/tokenizer.json"))
        differences = sum(check(folder, arguments) for folder in folders)
    print(f"{len(folders)} tokenizers, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
