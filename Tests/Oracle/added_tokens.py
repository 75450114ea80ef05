#!/usr/bin/env python3
"""Compares the tokens that the files beside a tokenizer.json add with those that `transformers` adds.

    python added_tokens.py --binary PATH [--count 60] [--seed N]

Makes up COUNT sets of tokenizer_config.json, special_tokens_map.json and added_tokens.json (added_tokens_decoder with
every flag, extra_special_tokens as a list and as names, additional_special_tokens, named special tokens as strings and
as objects, padding in tokenizer.json) beside small tokenizers, asks AutoTokenizer and BINARY for the ids of texts that
hold these tokens, and for the texts of those ids. Prints what differs, exits 1 if anything does.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

WORDS = ["a", "b", "ab", "Think", "<think>", "</think>", "<X>", "<s>", "</s>", "[PAD]", "new", "é", "<|im|>", "<UNK>", "in", "x y"]
NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]


def backends():
    """Byte-level pairs without a normalizer, and whole characters with one: where tokens meet normalization."""
    vocabulary = {token: index for index, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    plain = Tokenizer(models.BPE(vocab={**vocabulary, "ab": len(vocabulary), "<s>": len(vocabulary) + 1}, merges=[("a", "b")]))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    characters = {token: index for index, token in enumerate(["<unk>", *"abcdefghijklmnopqrstuvwxyz<>/|[] \u2581", "<s>"])}
    lower = Tokenizer(models.BPE(vocab=characters, merges=[], unk_token="<unk>", fuse_unk=True))
    lower.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.NFD(), normalizers.StripAccents()])
    sparse = Tokenizer(models.WordLevel({"a": 0, "b": 40, "<UNK>": 1, "<s>": 7}, unk_token="<UNK>"))
    sparse.pre_tokenizer = pre_tokenizers.Whitespace()
    return [plain, lower, sparse]


def flags(pick, special=True):
    chosen = {key: pick.random() < 0.3 for key in ("lstrip", "rstrip", "single_word") if pick.random() < 0.7}
    if pick.random() < 0.6:
        chosen["normalized"] = pick.random() < 0.5
    if special and pick.random() < 0.7:
        chosen["special"] = pick.random() < 0.5
    return chosen


def named(pick, token, typed):
    """A special token as a string, or as an object as save_pretrained wrote it."""
    if pick.random() < 0.6:
        return token
    return {**({"__type": "AddedToken"} if typed else {}), "content": token, **flags(pick, special=typed)}


def write(folder, pick):
    backend = Tokenizer.from_str(pick.choice(backends()).to_str())
    if pick.random() < 0.5:
        backend.add_tokens([AddedToken(token, **flags(pick)) for token in pick.sample(WORDS, pick.randint(1, 3))])
    if pick.random() < 0.15:
        backend.enable_padding(pad_token=pick.choice(WORDS))
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": pick.choice(["PreTrainedTokenizerFast", "TokenizersBackend"])}
    for name in pick.sample(NAMES, pick.randint(0, 4)):
        config[name] = pick.choice([None, *[named(pick, pick.choice(WORDS), True)] * 6])
    if pick.random() < 0.3:
        config["image_token"] = named(pick, pick.choice(WORDS), True)
    if pick.random() < 0.6:
        start = pick.choice([backend.get_vocab_size(), 0, 3000])
        tokens = pick.sample(WORDS, pick.randint(0, 4))
        config["added_tokens_decoder"] = {
            str(start + pick.randint(0, 9)): {"content": token, **flags(pick)} for token in tokens
        }
    if pick.random() < 0.4:
        config["additional_special_tokens"] = [named(pick, token, True) for token in pick.sample(WORDS, pick.randint(0, 3))]
    if pick.random() < 0.4:
        tokens = pick.sample(WORDS, pick.randint(0, 3))
        config["extra_special_tokens"] = (
            [named(pick, token, True) for token in tokens]
            if pick.random() < 0.5
            else {pick.choice(["image_token", "boi", "audio_token"]): token for token in tokens}
        )
    if pick.random() < 0.9:
        json.dump(config, open(folder / "tokenizer_config.json", "w"))
    if pick.random() < 0.4:
        tokens = {name: named(pick, pick.choice(WORDS), False) for name in pick.sample(NAMES, pick.randint(0, 4))}
        if pick.random() < 0.3:
            tokens["additional_special_tokens"] = pick.sample(WORDS, 2)
        if pick.random() < 0.3:
            tokens["extra_special_tokens"] = pick.sample(WORDS, 2)
        json.dump(tokens, open(folder / "special_tokens_map.json", "w"))
    if pick.random() < 0.3:
        size = backend.get_vocab_size()
        json.dump({token: size + at for at, token in enumerate(pick.sample(WORDS, 3))}, open(folder / "added_tokens.json", "w"))
    json.dump({"model_type": "llama"}, open(folder / "config.json", "w"))


def texts(pick):
    gaps = ["", " ", "  ", "\n", "Q", "a"]
    return ["".join(pick.choice(WORDS) + pick.choice(gaps) for _ in range(pick.randint(1, 9))) for _ in range(40)]


def ask(binary, command, folder, lines, *more):
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    done = subprocess.run([binary, command, "--hf_model_name_or_path", str(folder), *more], input=data, capture_output=True)
    answers = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
    return answers + [done.stderr.decode()[-300:]] * (len(lines) - len(answers))


def check(binary, folder, pick):
    """Differences; None where transformers does not load the files."""
    try:
        theirs = AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        return None if "--verbose" not in sys.argv else print(repr(error)[:200])
    backend = theirs.backend_tokenizer
    backend.no_padding()
    lines = texts(pick)
    wanted = [backend.encode(line).ids for line in lines]
    found = ask(binary, "encode", folder, lines)
    decoded = ask(binary, "decode", folder, wanted, "--skip_special_tokens")
    spelled = [backend.decode(ids, skip_special_tokens=True) for ids in wanted]
    differences = [(line, a, b) for line, a, b in zip(lines, wanted, found) if a != b]
    differences += [(ids, a, b) for ids, a, b in zip(wanted, spelled, decoded) if a != b]
    for given, theirs_, ours in differences[:2]:
        print(f"{folder.name}: {given!r}: transformers {theirs_!r}, ours {ours!r}")
    if differences:
        for file in sorted(folder.glob("*.json")):
            if file.name != "tokenizer.json":
                print(f"  {file.name}: {file.read_text()}")
        print(f"  tokenizer.json: {json.loads((folder / 'tokenizer.json').read_text())['added_tokens']}")
    return len(differences)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="say why transformers does not load a set of files")
    arguments = parser.parse_args()
    pick = random.Random(arguments.seed)
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(arguments.count):
            folder = pathlib.Path(temporary) / str(number)
            folder.mkdir()
            write(folder, pick)
            results.append(check(arguments.binary, folder, pick))
    compared = [result for result in results if result is not None]
    print(f"{len(results)} sets of files, {len(results) - len(compared)} that transformers does not load, {sum(compared)} differences")
    sys.exit(1 if sum(compared) or len(compared) < len(results) / 2 else 0)


if __name__ == "__main__":
    main()
