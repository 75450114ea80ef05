"""Layers that look at the tokens that an earlier layer's indexer picks, against `transformers`: the loss of rows, whole and after layers
went, and a greedy continuation, token by token.

Usage: shared_indexers.py --binary PROGRAM
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
import transformers
from mutation_cases import BASES
from mutations import EAGER, ROWS, ROW, TOLERANCE, Original, ours

# With layers that can go, from 1 on.
TYPES = {"FFSFSF": [1, 6], "FSSS": [3], "FSFSFS": [2]}
NAMES = {"F": "full", "S": "shared"}


def check(name, original, folder, binary):
    expected, (kind, found) = original.loss(folder), ours(binary, folder)
    assert kind == "loss", f"{name}: {found}"
    assert abs(found - expected) <= TOLERANCE * abs(expected), f"{name}: transformers {expected}, coppice {found}"
    print(f"ok   {name}: loss {found:.6f}, transformers {expected:.6f}")


def continued(folder, binary):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = json.loads((folder / "text.jsonl").read_text())["text"][:50]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **EAGER).eval()
    ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        for _ in range(12):
            ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    expected = tokenizer.decode(ids[0, -12:])
    done = subprocess.run([binary, "generate", "--hf_model_name_or_path", folder, "--prompt", prompt, "--max_new_tokens", "12",
                           "--compute_dtype", "float32", "--device", "cpu"], capture_output=True, text=True)
    return expected, done.stdout, done.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        original = Original(root, "glm_moe_dsa")
        # Of so many heads no two tokens have equal scores, among which PyTorch's choice follows no rule.
        base = BASES["glm_moe_dsa"] | {"model_type": "glm_moe_dsa", "index_topk": 8, "index_n_heads": 16}
        for letters, dropped in TYPES.items():
            folder, cut = root / letters, root / f"{letters}-cut"
            original.prepare(folder, base | {"num_hidden_layers": len(letters), "indexer_types": [NAMES[c] for c in letters]})
            check(letters, original, folder, binary)
            expected, found, said = continued(folder, binary)
            assert expected in found or found.strip() == expected.strip(), f"{letters}: {expected!r}, coppice {found!r} {said}"
            print(f"ok   {letters}: continued alike")
            done = subprocess.run([
                binary, "prune", "--hf_model_name_or_path", folder, "--output_hf_path", cut, "--calib_dataset_name", folder / "text.jsonl",
                "--seq_length", str(ROW), "--calib_num_samples", str(ROWS), "--compute_dtype", "float32", "--device", "cpu",
                "--drop_layers", ",".join(map(str, dropped))], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            left = [NAMES[c] for number, c in enumerate(letters, 1) if number not in dropped]
            assert json.loads((cut / "config.json").read_text())["indexer_types"] == left
            (cut / "text.jsonl").write_bytes((folder / "text.jsonl").read_bytes())
            check(f"{letters} without {dropped}", original, cut, binary)
            lender = letters.index("S")
            done = subprocess.run([binary, "prune", "--hf_model_name_or_path", folder, "--output_hf_path", root / "none",
                                   "--calib_dataset_name", folder / "text.jsonl", "--seq_length", str(ROW), "--drop_layers", str(lender)],
                                  capture_output=True, text=True)
            assert done.returncode in (1, 64) and not (root / "none").exists(), f"layer {lender} lends, but went: {done.stderr}"
            print(f"ok   {letters}: {done.stderr.strip().splitlines()[0]}")


if __name__ == "__main__":
    main()
