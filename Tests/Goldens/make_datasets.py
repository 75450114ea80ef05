"""Writes Tests/Goldens/datasets: what `datasets` 5.2.0 and nvidia-modelopt 0.47.0 make of the trees in datasets_cases.py.

    pip install datasets==5.2.0 zstandard lz4 torch && pip install --no-deps nvidia-modelopt==0.47.0
    HF_HUB_OFFLINE=1 python Tests/Goldens/make_datasets.py
"""

import json
import os
import random
import re
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
scratch = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = scratch.name + "/home"

import datasets
from datasets_cases import CARDS, LAYOUTS
from datasets_formats import formats
from datasets_registry import registry

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
out = Path(__file__).parent / "datasets"


def write(name, value):
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in value)
    (out / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(name, len(value))


def contents(path):
    """One row whose text is the file's path."""
    suffix = path.rsplit(".", 1)[-1]
    if suffix == "csv":
        return f"text\n{path}\n"
    if suffix in ("json", "jsonl", "1"):
        return json.dumps({"text": path}) + "\n"
    return path + "\n"


def plant(root, files):
    """Writes a tree; gives its files as [path, text] or [path, null, link]."""
    entries = []
    for entry in files:
        path, text = entry if isinstance(entry, tuple) else (entry, None)
        if " -> " in path:
            path, target = path.split(" -> ")
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
            entries.append([path, None, target])
            continue
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        text = contents(path) if text is None else text
        place.write_bytes(text.encode())
        entries.append([path, text])
    return entries


def rows(path, config, split):
    try:
        loaded = datasets.load_dataset(str(path), config, split=split, streaming=True)
        return [row["text"] for row in loaded]
    except Exception as error:
        return {"error": f"{type(error).__name__}"}


def layouts():
    cases = []
    for at, (name, (files, loads)) in enumerate(LAYOUTS.items()):
        root = Path(scratch.name) / f"tree{at}"
        root.mkdir()
        entries = plant(root, files)
        cases.append({
            "name": name, "files": entries,
            "loads": [{"config": c, "split": s, "rows": rows(root, c, s)} for c, s in loads],
        })
    return cases


def dumped():
    """Cards as PyYAML writes them, in all its styles."""
    import yaml

    chooser = random.Random(1)
    words = ["a", "en-US", "data/*.jsonl", "**", "x: y", "it's", '"q"', "#c", "a #b", " space ", "3.0.0", "true", "null", "é\U0001f600", "a,b", "[x]",
             "{y}", "- z", "line\nbreak", "tab\tx", "", "&a", "*b", "!c", "%d", "@e", "`f", "a" * 100, "long words " * 12, "1_000", "0x1f", "~", ":", "a:", "?", "? b", "|", ">", "\u2028", "-"]
    cases = {}
    for at in range(200):
        configs, style = [], chooser.choice([None, None, '"', "'"])
        for _ in range(chooser.randint(1, 3)):
            config = {"config_name": chooser.choice(words)}
            kind = chooser.randint(0, 3)
            if kind == 1:
                config["data_files"] = chooser.choice(words)
            elif kind == 2:
                config["data_files"] = chooser.choices(words, k=chooser.randint(1, 3))
            elif kind == 3:
                config["data_files"] = [
                    {"split": f"s{i}", "path": chooser.choice([chooser.choice(words), chooser.choices(words, k=2)])}
                    for i in range(chooser.randint(1, 3))
                ]
            # A line separator that stands there as itself ends lines for PyYAML, which is not followed.
            # Where every value is quoted, those that are no text get a tag, which is not read.
            if style is None and chooser.random() < 0.3:
                config["default"] = chooser.random() < 0.5
            if chooser.random() < 0.3:
                config["data_dir"] = chooser.choice(words)
            configs.append(config)
        card = {"license": "mit", "configs": configs, "tags": ["x"]}
        text = yaml.safe_dump(
            card, default_flow_style=chooser.choice([None, True, False, False]), indent=chooser.choice([2, 2, 4]),
            width=chooser.choice([20, 80, 10000]), allow_unicode=chooser.random() < 0.5 and "\\u2028" not in json.dumps(card), sort_keys=chooser.random() < 0.5,
            default_style=style,
        )
        cases[f"dumped {at}"] = f"---\n{text}---\n"
    return cases


def cards():
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    cases = []
    for name, text in {**CARDS, **dumped()}.items():
        path = Path(scratch.name) / "card.md"
        path.write_bytes(text.encode())
        try:
            configs = MetadataConfigs.from_dataset_card_data(DatasetCard.load(path).data)
            value = []
            for config, parameters in configs.items():
                files = parameters.get("data_files")
                patterns = datasets.data_files.sanitize_patterns(files) if files is not None else None
                value.append({
                    "name": str(config), "default": bool(parameters.get("default")), "data_dir": parameters.get("data_dir"),
                    "data_files": None if patterns is None else [[s, p] for s, p in patterns.items()],
                })
        except Exception as error:
            value = {"error": type(error).__name__}
        cases.append({"name": name, "card": text, "configs": value})
    return cases


def globs():
    """Patterns and paths at random, matched by fsspec's translation."""
    from fsspec.utils import glob_translate

    chooser = random.Random(0)
    cases = []
    pieces = ["*", "**", "?", "[ab]", "[!a]", "[a-c]", "[c-a]", "[]a]", "[a", "[-a]", "[a-]", "[^a]", "a", "b", "c", ".", "-", "é", "ab", "a.c", "\\", "{a,b}", "+"]
    letters = ["a", "b", "c", ".", "-", "é", "]", "^", "[", "\\", "{", ",", "}", "+"]
    while len(cases) < 2500:
        pattern = "/".join("".join(chooser.choices(pieces, k=chooser.randint(1, 3))) for _ in range(chooser.randint(1, 4)))
        if any(part in (".", "..") for part in pattern.split("/")):
            continue
        try:
            regex = re.compile(glob_translate(pattern))
        except (ValueError, re.error):
            cases.append([pattern, None])
            continue
        paths = []
        for _ in range(6):
            path = "/".join("".join(chooser.choices(letters, k=chooser.randint(1, 3))) for _ in range(chooser.randint(1, 4)))
            # Those that follow the pattern's pieces match more often.
            if chooser.random() < 0.7:
                path = re.sub(r"\*\*", lambda _: chooser.choice(["a", "b/c", "a/b/c"]), pattern)
                path = re.sub(r"\[[^]]*\]|\?", lambda _: chooser.choice(letters), path)
                path = re.sub(r"\*", lambda _: chooser.choice(["", "a", "ab"]), path)
            if all(part not in ("", ".", "..") for part in path.split("/")):
                paths.append([path, bool(regex.match(path))])
        cases.append([pattern, paths])
    return cases


if __name__ == "__main__":
    out.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or ["layouts", "cards", "globs", "formats", "registry"]
    makers = {
        "layouts": layouts, "cards": cards, "globs": globs, "formats": lambda: formats(Path(scratch.name)),
        "registry": lambda: registry(Path(scratch.name)),
    }
    for name in wanted:
        write(name + ".json", makers[name]())
