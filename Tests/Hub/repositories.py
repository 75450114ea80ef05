"""Makes the repositories that the test hub serves, from the example model and the example's text.

    python repositories.py --out DIR [--big MB]

Needs pyarrow for the Parquet files, nothing else beside the standard library. The same bytes every time, so the
same commit ids. `MODELS` and `DATASETS` say what each is for.
"""

import argparse
import json
import os
import random
import shutil
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "Examples", "model")
DATA = os.path.join(ROOT, "Examples", "data")
SMALL = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

MODELS = {
    "Qwen/Qwen3-8B": "the example in five shards; a tag, a branch with a slash, a pull request, an older commit",
    "Qwen/Qwen3-0.6B": "the example in one file",
    "gpt2": "a name without owner",
    "example/duplicates": "the same weights as safetensors, pickles, GGUF, ONNX, in one old file and in `original/`",
    "example/pickles": "no safetensors",
    "meta-llama/Llama-3.1-8B": "gated, by hand",
    "example/private": "private",
    "example/xet": "large files with a Xet hash, and plain HTTP for them",
    "example/xet-only": "large files that plain HTTP does not give",
    "example/disabled": "taken down",
    "example/subfolder": "files in folders, odd names, an empty file, files of the same contents",
}
DATASETS = {
    "nvidia/Nemotron-Post-Training-Dataset-v2": "gated; splits stem, chat, math, code of `messages`",
    "cais/mmlu": "configs by subject and `all`; test, dev, validation",
    "example/card": "configs in the card's front matter: globs, lists, a default",
    "example/folders": "no card: splits by folder and file name",
    "example/script": "only a script, and the converted branch",
    "plain": "a name without owner, one file of lines",
}


def write(folder, path, content):
    whole = os.path.join(folder, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "wb") as opened:
        opened.write(content.encode() if isinstance(content, str) else content)


def repository(out, kind, name, revisions=None, **description):
    """The folder for `main`; `repository.json` beside it."""
    folder = os.path.join(out, kind, *name.split("/"))
    write(folder, "repository.json", json.dumps({"revisions": revisions or {"main": "main"}, **description}, indent=1))
    main = os.path.join(folder, "main")
    os.makedirs(main, exist_ok=True)
    return main


# Weights

def read_safetensors(path):
    """Header and tensors: name -> (description, bytes), in the file's order."""
    with open(path, "rb") as opened:
        length = struct.unpack("<Q", opened.read(8))[0]
        header = json.loads(opened.read(length))
        data = opened.read()
    metadata = header.pop("__metadata__", {"format": "pt"})
    tensors = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return metadata, {n: (d, data[slice(*d["data_offsets"])]) for n, d in tensors}


def safetensors(tensors, metadata):
    """The bytes of a file."""
    header, at = {"__metadata__": metadata}, 0
    for name, (description, data) in tensors.items():
        header[name] = {**description, "data_offsets": [at, at + len(data)]}
        at += len(data)
    told = json.dumps(header, separators=(",", ":")).encode()
    told += b" " * (-len(told) % 8)
    return struct.pack("<Q", len(told)) + told + b"".join(data for _, data in tensors.values())


def shards(folder, count):
    """The example's weights in so many files, and their index."""
    metadata, tensors = read_safetensors(os.path.join(MODEL, "model.safetensors"))
    names, whole = list(tensors), sum(len(data) for _, data in tensors.values())
    parts, filled = [{} for _ in range(count)], 0
    for name in names:
        parts[min(filled * count // whole, count - 1)][name] = tensors[name]
        filled += len(tensors[name][1])
    weight_map = {}
    for n, part in enumerate(parts, 1):
        file = f"model-{n:05d}-of-{count:05d}.safetensors"
        write(folder, file, safetensors(part, metadata))
        weight_map.update({name: file for name in part})
    index = {"metadata": {"total_size": whole}, "weight_map": weight_map}
    write(folder, "model.safetensors.index.json", json.dumps(index, indent=2) + "\n")


def small_files(folder, template=True):
    for name in SMALL:
        shutil.copyfile(os.path.join(MODEL, name), os.path.join(folder, name))
    write(folder, "README.md", "---\nlicense: apache-2.0\n---\n\n# A model for tests\n")
    write(folder, "LICENSE", "Apache License 2.0\n")
    write(folder, ".gitattributes", "*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    if template:
        with open(os.path.join(MODEL, "tokenizer_config.json"), encoding="utf-8") as opened:
            write(folder, "chat_template.jinja", json.load(opened)["chat_template"])


def model(folder):
    small_files(folder)
    shutil.copyfile(os.path.join(MODEL, "model.safetensors"), os.path.join(folder, "model.safetensors"))


def filler(size, seed):
    return random.Random(seed).randbytes(size)


def models(out):
    folder = repository(
        out, "models", "Qwen/Qwen3-8B", {
            "main": "main", "v1.0": "old", "feature/longer": "feature", "refs/pr/1": "pull"},
        tags=["v1.0"], commits=["nameless"], lfs=["tokenizer.json"])
    small_files(folder)
    shards(folder, 5)
    for place in ("old", "feature", "pull", "nameless"):
        shutil.copytree(folder, os.path.join(os.path.dirname(folder), place))
        write(os.path.join(os.path.dirname(folder), place), "README.md", f"# This is {place}\n")
    model(repository(out, "models", "Qwen/Qwen3-0.6B"))
    model(repository(out, "models", "gpt2"))

    folder = repository(out, "models", "example/duplicates")
    model(folder)
    for number, name in enumerate((
            "pytorch_model.bin", "original/consolidated.00.pth", "model-Q4_K_M.gguf", "onnx/model.onnx", "tf_model.h5",
            "consolidated.safetensors", "training_args.bin", "model.fp16.safetensors", "rust_model.ot",
            "flax_model.msgpack")):
        write(folder, name, filler(200_000, number))
    write(folder, "original/params.json", "{}\n")
    folder = repository(out, "models", "example/pickles")
    small_files(folder)
    write(folder, "pytorch_model.bin", filler(200_000, 100))
    model(repository(out, "models", "meta-llama/Llama-3.1-8B", gated="manual"))
    model(repository(out, "models", "example/private", private=True))
    model(repository(out, "models", "example/xet", xet=True))
    model(repository(out, "models", "example/xet-only", xet_only=True))
    model(repository(out, "models", "example/disabled", disabled=True))
    folder = repository(out, "models", "example/subfolder")
    model(folder)
    for name in ("deep/er/config.json", "a name with spaces.json", "100%.txt", "größe/überall.md", "plus+and&.txt"):
        write(folder, name, f"this is {name}\n")
    write(folder, "empty.txt", "")
    shutil.copyfile(os.path.join(folder, "config.json"), os.path.join(folder, "deep", "config copy.json"))
    shutil.copyfile(os.path.join(folder, "model.safetensors"), os.path.join(folder, "deep", "model.safetensors"))


# Datasets

def lines(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as opened:
        return [json.loads(line) for line in opened]


def as_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def parquet(folder, path, rows):
    import pyarrow
    import pyarrow.parquet

    whole = os.path.join(folder, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), whole, compression="zstd")


def card(configurations):
    """Front matter with data files: configuration -> {split: path or paths}."""
    text = ["---", "license: cc-by-4.0", "configs:"]
    for name, splits in configurations.items():
        text += [f"- config_name: {name}", "  data_files:"]
        for split, path in splits.items():
            text.append(f"  - split: {split}")
            if isinstance(path, str):
                text.append(f"    path: {path}")
            else:
                text += ["    path:", *(f"    - \"{p}\"" for p in path)]
    return "\n".join([*text, "---", "", "# A data set for tests", ""])


def datasets(out):
    """Those that need no Parquet files."""
    chat, text = lines("chat.jsonl"), lines("calib.jsonl")
    folder = repository(out, "datasets", "example/card")
    write(folder, "records/one.jsonl", as_lines(text[:100]))
    write(folder, "records/two.jsonl", as_lines(text[100:200]))
    write(folder, "records/held-out.jsonl", as_lines(text[200:250]))
    write(folder, "other/conversations.jsonl", as_lines(chat[:50]))
    write(folder, "README.md", card({
        "default": {"train": ["records/one.jsonl", "records/t*.jsonl"], "test": "records/held-out.jsonl"},
        "talk": {"train": "other/**"}}))

    folder = repository(out, "datasets", "example/folders")
    write(folder, "train/a.jsonl", as_lines(text[:40]))
    write(folder, "train/b.jsonl", as_lines(text[40:80]))
    write(folder, "test/c.jsonl", as_lines(text[80:100]))
    write(repository(out, "datasets", "plain"), "train.jsonl", as_lines(text[:30]))


def parquet_datasets(out):
    chat, text = lines("chat.jsonl"), lines("calib.jsonl")
    folder = repository(out, "datasets", "nvidia/Nemotron-Post-Training-Dataset-v2", gated="auto")
    splits = ("stem", "chat", "math", "code")
    for number, split in enumerate(splits):
        rows = [{
            "uuid": f"{split}-{n}", "license": "cc-by-4.0", "generator": "fixture", "category": split,
            "reasoning": "off", "messages": row["messages"]} for n, row in enumerate(chat[number::len(splits)])]
        half = len(rows) // 2
        parquet(folder, f"data/{split}-00000-of-00002.parquet", rows[:half])
        parquet(folder, f"data/{split}-00001-of-00002.parquet", rows[half:])
    write(folder, "README.md", card({"default": {s: f"data/{s}-*" for s in splits}}))

    folder = repository(out, "datasets", "cais/mmlu")
    test, dev = lines("mmlu/test.jsonl"), lines("mmlu/dev.jsonl")
    subjects = sorted({row["subject"] for row in test})
    configurations = {"all": {}, **{s: {} for s in subjects[:2]}}
    for configuration in configurations:
        for split, rows in (("test", test), ("validation", dev), ("dev", dev)):
            chosen = [r for r in rows if configuration in ("all", r["subject"])]
            parquet(folder, f"{configuration}/{split}-00000-of-00001.parquet", chosen)
            configurations[configuration][split] = f"{configuration}/{split}-*"
    write(folder, "README.md", card(configurations))

    folder = repository(
        out, "datasets", "example/script", {"main": "main", "refs/convert/parquet": "converted"})
    write(folder, "script.py", "import datasets\n\n\nclass Script(datasets.GeneratorBasedBuilder):\n    pass\n")
    write(folder, "README.md", "# Only a script\n")
    parquet(os.path.join(os.path.dirname(folder), "converted"), "default/train/0000.parquet", text[:60])
    parquet(os.path.join(os.path.dirname(folder), "converted"), "default/test/0000.parquet", text[60:80])


def big(out, megabytes, name="example/big", files=6):
    """A model of so many megabytes in several files of unequal size, of random numbers."""
    folder = repository(out, "models", name)
    small_files(folder)
    weights, whole = {}, int(megabytes * 1e6)
    shares = [n for n in range(1, files + 1)]
    for number, share in enumerate(shares, 1):
        size = max(whole * share // sum(shares) // 2, 1)
        file = f"model-{number:05d}-of-{files:05d}.safetensors"
        tensor = f"model.layers.{number}.weight"
        description = {"dtype": "BF16", "shape": [size]}
        write(folder, file, safetensors({tensor: (description, filler(2 * size, 1000 + number))}, {"format": "pt"}))
        weights[tensor] = file
    index = {"metadata": {"total_size": whole}, "weight_map": weights}
    write(folder, "model.safetensors.index.json", json.dumps(index))


def make(out, megabytes=None, with_parquet=True):
    models(out)
    datasets(out)
    if with_parquet:
        parquet_datasets(out)
    if megabytes:
        big(out, megabytes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="a folder that does not exist yet")
    parser.add_argument("--big", type=float, metavar="MB", help="example/big of this size, too")
    arguments = parser.parse_args()
    if os.path.exists(arguments.out):
        sys.exit(f"repositories: {arguments.out} exists")
    make(arguments.out, arguments.big)
    for name, purpose in {**MODELS, **DATASETS}.items():
        print(f"{name}: {purpose}")


if __name__ == "__main__":
    main()
