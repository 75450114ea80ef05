"""Repositories as the registered data sets have them, and what nvidia-modelopt 0.47.0 packs from them."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import datasets


def reference():
    """`dataset_utils` alone: the package around it needs much that is not asked for here."""
    root = Path(importlib.util.find_spec("modelopt").submodule_search_locations[0])
    for name in ("modelopt", "modelopt.torch", "modelopt.torch.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module
    logging = types.ModuleType("modelopt.torch.utils.logging")
    logging.print_rank_0 = logging.warn_rank_0 = lambda *_, **__: None
    sys.modules[logging.__name__] = logging
    return importlib.import_module("modelopt.torch.utils.dataset_utils")


class Bytes:
    """A tokenizer of bytes, whose chat template writes what it was given as JSON."""

    padding_side, eos_token_id, pad_token_id = "left", 256, 257

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return list(text.encode())

    def apply_chat_template(self, messages, tokenize, tools=None):
        assert not tokenize
        return json.dumps([messages, tools], ensure_ascii=False)


def row(entry, split, at):
    """A row with the columns that the set's own text is made of, and others."""
    mark = f"{split}{at}"
    if "chat_key" in entry:
        column = entry["chat_key"]
        turns = [{"role": "user", "content": mark}, {"role": "assistant", "content": "é" * (at % 3)}]
        if column == "conversations":
            turns = [{"from": "human", "value": mark}, {"from": "gpt", "value": "x"}]
        return {"uuid": at, column: turns}
    turns = [{"role": "system", "content": ""}, {"role": "user", "content": mark}]
    samples = [
        {"input": f"i{mark}", "output": "o", "text": "no"}, {"problem": f"p{mark}", "generated_solution": "g"},
        {"input": turns, "output": "o"}, {"article": f"a{mark}", "highlights": "h"}, {"text": f"t{mark}", "meta": {"a": 1}},
    ]
    for sample in samples:
        try:
            entry["preprocess"](sample)
            return sample
        except (KeyError, TypeError):
            continue
    raise ValueError(entry)


def repository(root, entry):
    """Files of a repository: a card where it has configurations, some rows in each split."""
    config = entry["config"]
    files, patterns = {}, []
    folder = f"{config['name']}/" if "name" in config else "data/"
    for split in config["split"]:
        for shard in range(2):
            path = f"{folder}{split}-0000{shard}-of-00002.jsonl"
            count = 30
            rows = [row(entry, split, shard * count + i) for i in range(count)]
            files[path] = "".join(json.dumps(r) + "\n" for r in rows)
        patterns.append(f"  - split: {split}\n    path: {folder}{split}-*\n")
    if "name" in config:
        other = "- config_name: other\n  data_files: other/*\n"
        files["README.md"] = f"---\nconfigs:\n{other}- config_name: {config['name']}\n  data_files:\n{''.join(patterns)}---\n"
        files["other/train.jsonl"] = '{"text": "another configuration"}\n'
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return files


def registry(scratch):
    utils = reference()
    load, roots, trees = datasets.load_dataset, {}, []
    for at, (name, entry) in enumerate(utils.SUPPORTED_DATASET_CONFIG.items()):
        path = entry["config"]["path"]
        roots[path] = scratch / "hub" / path.replace("/", "--")
        trees.append({"repository": path, "name": name, "files": repository(roots[path], entry)})
    datasets.load_dataset = lambda path, *a, **k: load(str(roots[path]), *a, **k)
    cases = [{"names": utils.get_supported_datasets(), "mixes": utils.DATASET_COMBOS, "trees": trees}]
    for names, rows, length in [
        *[([n], 2, 40) for n in utils.SUPPORTED_DATASET_CONFIG],
        *[([n], 3, 4000) for n in utils.SUPPORTED_DATASET_CONFIG],
        *[([n], rows, length) for n in utils.DATASET_COMBOS for rows, length in [(1, 4000), (5, 60), (9, 900)]],
        (["cnn_dailymail", "wikitext"], 5, 100), (["wikitext", "nemotron-post-training-v3"], 7, 300),
    ]:
        # Several share the rows evenly, the first ones getting the rest: the reference is told each one's number.
        shares = [rows // len(names) + (i < rows % len(names)) for i in range(len(names))]
        loader = utils.get_dataset_dataloader(
            names, Bytes(), num_samples=shares, max_sample_length=length, apply_chat_template=True, pack=True)
        packed = [[t for t, m in zip(r["input_ids"].tolist(), r["attention_mask"].tolist()) if m] for r in loader.dataset]
        text = "".join("␞" if t == 256 else chr(t) for r in packed for t in r)
        # Bytes as the characters of Latin-1, documents' ends as a mark of their own.
        cases.append({"names": names, "rows": rows, "length": length, "lengths": [len(r) for r in packed], "text": text})
    for bad in [["cnn_dailymail", "cnn_nemotron_v2_mix"], ["nemotron-post-training-v3", "nemotron-math-v2"]]:
        try:
            utils.get_dataset_dataloader(bad, Bytes(), num_samples=[1, 1], pack=True)
            raise AssertionError(bad)
        except ValueError:
            cases.append({"names": bad, "error": True})
    return cases
