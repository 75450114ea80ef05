"""Random trees of files and cards: which files Coppice takes for which split, compared with `datasets` 5.2.0.

    python Tests/Oracle/datasets_layouts.py [--seed 0] [--count 100]

Needs the packages that Tests/Goldens/make_datasets.py names and the tests built in release (`swift build -c release
--build-tests`). Writes cases in the form of the golden file and has the Swift tests read them in its place.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / "Tests/Goldens"))

import yaml
from make_datasets import plant, rows

WORDS = [
    "train", "test", "dev", "val", "validation", "valid", "training", "eval", "evaluation", "testing", "data", "en", "x", "a",
    "trainer", "latest", "my-train", "train-v2", "test_1", "pre.val", "split", "raw", "00001", "__s", ".h", "devel",
]
SPLITS = ["train", "test", "validation", "foo"]


def name(chooser):
    word = chooser.choice(WORDS)
    if chooser.random() < 0.4:
        word += chooser.choice(["-", "_", ".", " ", "", "1"]) + chooser.choice(WORDS)
    if chooser.random() < 0.25:
        word += f"-0000{chooser.randint(0, 2)}-of-00003"
    return word


def tree(chooser):
    files = set()
    for _ in range(chooser.randint(1, 7)):
        path = "/".join(name(chooser) for _ in range(chooser.choice([1, 1, 2, 2, 3, 4]))) + chooser.choice([".jsonl", ".jsonl", ".json"])
        if not any(other.startswith(path + "/") or path.startswith(other + "/") for other in files):
            files.add(path)
    return sorted(files)


def pattern(chooser, files):
    path = chooser.choice(files)
    parts = path.split("/")
    return chooser.choice([
        path, "**", "/".join(parts[:-1] + ["*"]), "**/" + parts[-1], path.replace(chooser.choice(path), "?", 1),
        "/".join(part if chooser.random() < 0.5 else "*" for part in parts), path[: chooser.randint(1, len(path))] + "*",
    ])


def configs(chooser, files):
    found = []
    for config in chooser.sample(["default", "en", "de"], chooser.randint(1, 3)):
        entry = {"config_name": config}
        kind = chooser.randint(0, 3)
        if kind == 1:
            entry["data_files"] = pattern(chooser, files)
        elif kind == 2:
            entry["data_files"] = [pattern(chooser, files) for _ in range(chooser.randint(1, 3))]
        elif kind == 3:
            entry["data_files"] = [
                {"split": split, "path": [pattern(chooser, files) for _ in range(chooser.randint(1, 2))]}
                for split in chooser.sample(SPLITS, chooser.randint(1, 3))
            ]
        if chooser.random() < 0.2:
            entry["data_dir"] = chooser.choice(files).split("/")[0]
        found.append(entry)
    return found


def case(chooser, at, folder):
    files = tree(chooser)
    card = configs(chooser, files) if chooser.random() < 0.5 else []
    planted = [*files, *([("README.md", "---\n" + yaml.safe_dump({"configs": card}, sort_keys=False) + "---\n")] if card else [])]
    folder.mkdir()
    entries, loads = plant(folder, planted), []
    for config in [None, *[entry["config_name"] for entry in card]]:
        for split in SPLITS:
            found = rows(folder, config, split)
            # `datasets` also fails for what is wrong with other configurations and splits than the one asked for, and gives no
            # rows where a card's patterns match nothing, which is an error here.
            if found if isinstance(found, list) else not card:
                loads.append({"config": config, "split": split, "rows": found})
    return {"name": f"random {at}", "files": entries, "loads": loads}


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--count", type=int, default=100)
arguments = parser.parse_args()
chooser = random.Random(arguments.seed)
with tempfile.TemporaryDirectory() as scratch:
    cases = [case(chooser, at, Path(scratch) / f"tree{at}") for at in range(arguments.count)]
    (Path(scratch) / "layouts.json").write_text(json.dumps(cases), encoding="utf-8")
    loads = [load for entry in cases for load in entry["loads"]]
    print(f"{len(loads)} loads, {sum(isinstance(load['rows'], list) for load in loads)} of them with rows")
    sys.exit(subprocess.run(
        ["swift", "test", "--skip-build", "-c", "release", "--disable-testable-imports", "--filter", "choosesTheFilesThatDatasetsChooses"],
        cwd=root, env={**os.environ, "COPPICE_DATASETS_GOLDENS": scratch}).returncode)
