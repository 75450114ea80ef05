"""Does every field of a config mean to us what it means to `transformers`?

    python mutations.py --binary BIN [--jobs 2] [--report FILE] [--match TEXT] [--every N [--offset K]] [MODEL_TYPE …]

For each model type a tiny random checkpoint, and its config.json changed field by field (mutation_cases.py): the loss that
`coppice eval` prints, in float32, against that of `transformers`' eager forward pass over the same rows. A mutation is one of

    same         both losses agree within TOLERANCE of theirs
    refused      we refuse (exit 1 with a message); the original computes
    unloadable   `transformers` raises, or would make up weights: whatever we say short of a crash will do
    different    both compute, and differ: the fault this program looks for
    crashed      we end by a signal, or by another exit code

The last line counts them; exit 1 when something is different or crashed, or when the unchanged base is not the same. Where a
mutation changes the shapes, weights are drawn anew from the original's module for the changed config; otherwise they are kept.
"""

import argparse
import collections
import concurrent.futures
import json
import logging
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mutation_cases import ABSENT, BASES, COMPARED_ELSEWHERE, VOCAB, mutations
from towers import stacked

TOLERANCE = 5e-5
ROW, ROWS, LAST = 64, 3, 41  # the last row is short: lengths decide in some kinds of positions
TEXT = "".join(chr(33 + i * i * 7 % 94) for i in range(ROW * (ROWS - 1) + LAST - 1))
EAGER = dict(dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")


def write_tokenizer(folder):
    """Byte level without merges: a letter a token."""
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2}
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        if len(vocab) < VOCAB:
            vocab[byte] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>"})
    )
    (folder / "text.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids + [2]  # a document ends with EOS
    return [torch.tensor([ids[i : i + ROW]]) for i in range(0, len(ids), ROW)]


@torch.no_grad()
def draw(model, seed):
    """Random weights of which none is without effect; same seed, same weights."""
    generator = torch.Generator().manual_seed(5 + seed)
    for name, tensor in sorted(list(model.named_parameters()) + list(model.named_buffers())):
        normal = torch.randn(tensor.shape, generator=generator)
        if name.endswith("A_log"):
            value = normal * 0.5
        elif name.endswith(("e_score_correction_bias", "expert_bias")):
            value = normal * 0.2
        elif name.endswith("layer_scalar"):
            value = 0.8 + 0.2 * normal
        elif name not in dict(model.named_parameters()):
            continue
        elif "norm" in name and "bias" not in name:
            value = tensor + 0.3 * normal
        elif tensor.dim() > 1:
            value = normal * (1 if "embed" in name else 1.4 / math.sqrt(tensor[0].numel() if tensor.dim() != 3 else tensor.shape[-1]))
        else:
            value = 0.3 * normal + (1 if name.endswith(".D") else 0)
        tensor.copy_(value)
    model.tie_weights()


class Original:
    """`transformers`' side: one process, weights of a base kept for what does not change the shapes."""

    def __init__(self, root, model_type):
        self.folder = root / f"{model_type} base"
        self.folder.mkdir()
        self.rows = write_tokenizer(self.folder)
        (self.folder / "config.json").write_text(json.dumps(BASES[model_type] | {"model_type": model_type}))
        self.shapes = self._build(self.folder)

    def _shapes(self, model):
        return {name: tuple(value.shape) for name, value in model.state_dict().items()}

    def redraw(self, folder):
        """Other weights for a prepared checkpoint."""
        for file in folder.glob("*.safetensors*"):
            file.unlink()
        self._build(folder, seed=1)

    def _build(self, folder, seed=0):
        """Draws weights for the config in `folder`, which is kept as it is written."""
        text = (folder / "config.json").read_text()
        config = transformers.AutoConfig.from_pretrained(folder)
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        draw(model, seed)
        model.save_pretrained(folder)
        if config.model_type == "qwen3_5_moe_text":  # as it is published, not as `transformers` saves it
            file = folder / "model.safetensors"
            save_file(stacked(load_file(file)), file, {"format": "pt"})
        (folder / "config.json").write_text(text)
        (folder / "generation_config.json").unlink(missing_ok=True)
        return self._shapes(model)

    def prepare(self, folder, config):
        """A checkpoint with this config. Where the original cannot make it, the base's weights lie beside it."""
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json", "text.jsonl"):
            os.link(self.folder / name, folder / name)
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        shapes = None
        try:
            parsed = transformers.AutoConfig.from_pretrained(folder)
            with torch.device("meta"):
                shapes = self._shapes(transformers.AutoModelForCausalLM.from_config(parsed))
        except Exception:  # whatever it is, it is the original's refusal
            pass
        if shapes is not None and shapes != self.shapes:
            try:
                self._build(folder)
                return
            except Exception:
                (folder / "config.json").write_text(json.dumps(config, indent=1))
        for file in self.folder.glob("*.safetensors*"):
            if not (folder / file.name).exists():
                os.link(file, folder / file.name)

    @torch.no_grad()
    def loss(self, folder):
        """Per token; raises what the original raises."""
        model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **EAGER)
        for what in ("missing_keys", "mismatched_keys"):
            if info.get(what):
                raise ValueError(f"{what}: {sorted(map(str, info[what]))[:2]}")
        model.eval()
        total, count = 0.0, 0
        # Short rows first: dynamic positions, once stretched, stay so for what comes after.
        for row in sorted(self.rows, key=lambda row: row.shape[1]):
            logits = model(input_ids=row, use_cache=False).logits[0, :-1].float()
            total += torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
            count += row.shape[1] - 1
        return total / count


def ours(binary, folder):
    """('loss', number), ('refused', message) or ('crashed', what)."""
    command = [binary, "eval", "--hf_model_name_or_path", str(folder), "--eval_dataset_name", str(folder / "text.jsonl"),
               "--seq_length", str(ROW), "--eval_num_samples", str(ROWS), "--compute_dtype", "float32", "--device", "cpu",
               "--json", "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "crashed", "no answer in two minutes"
    said = done.stderr.strip()
    if done.returncode == 1 and said:
        return "refused", said.splitlines()[-1]
    if done.returncode != 0:
        return "crashed", f"exit {done.returncode}: {said[-200:]}"
    return "loss", json.loads(done.stdout)["loss"]["mean"]


def judge(expected, found):
    kind, value = found
    if kind == "crashed":
        return "crashed", value
    if isinstance(expected, Exception):
        return "unloadable", f"{type(expected).__name__}: {str(expected).strip().splitlines()[0][:110] if str(expected).strip() else ''}"
    if kind == "refused":
        # A loss that is no number is refused by us, and rightly.
        return ("refused", value) if math.isfinite(expected) else ("same", "both without a finite loss")
    apart = abs(value - expected) / abs(expected)
    if apart <= TOLERANCE:
        return "same", f"{expected:.6f}"
    return "different", f"transformers {expected:.6f}, coppice {value:.6f}"


def compare(binary, model_type, pool, match, every, offset, root):
    """Yields (label, verdict, detail, whether the original's loss moved)."""
    original = Original(root, model_type)
    pending = []
    base_loss = None

    def finish(label, folder, expected, future):
        verdict, detail = judge(expected, future.result())
        if verdict == "different":
            # Two experts may be chosen by the last bit: what a field means shows with any weights.
            original.redraw(folder)
            verdict, again = judge(original.loss(folder), ours(binary, folder))
            detail += f"; with other weights: {again}"
        shutil.rmtree(folder)
        moved = not isinstance(expected, Exception) and base_loss is not None and abs(expected - base_loss) > TOLERANCE
        return label, verdict, detail, moved

    for number, (label, changes) in enumerate(mutations(model_type)):
        if label != "base" and (match not in label or (number + offset + len(model_type)) % every):
            continue
        config = BASES[model_type] | {"model_type": model_type} | changes
        config = {key: value for key, value in config.items() if not (isinstance(value, str) and value == ABSENT)}
        folder = root / f"{model_type} {number}"
        original.prepare(folder, config)
        future = pool.submit(ours, binary, folder)
        try:
            expected = original.loss(folder)
        except Exception as error:  # the original's refusal
            expected = error
        if label == "base":
            base_loss = expected
        pending.append((label, folder, expected, future))
        while len(pending) > 8:
            yield finish(*pending.pop(0))
    for entry in pending:
        yield finish(*entry)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutation")
    parser.add_argument("--offset", type=int, default=0, help="which of them, from 0 to n - 1")
    parser.add_argument("--match", default="", help="only mutations whose label holds this text")
    parser.add_argument("--report", type=pathlib.Path, help="JSON lines of every mutation")
    parser.add_argument("types", nargs="*", metavar="MODEL_TYPE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    os.environ["HF_HUB_OFFLINE"] = "1"

    families = subprocess.run([arguments.binary, "families", "--json"], capture_output=True, text=True)
    if families.returncode != 0:
        sys.exit(f"{arguments.binary} families: {families.stderr.strip()}")
    known = {entry["model_type"] for entry in json.loads(families.stdout)["families"]}
    if lacking := known - set(BASES) - COMPARED_ELSEWHERE:
        sys.exit(f"mutation_cases.py has no base for {', '.join(sorted(lacking))}")

    counts = collections.Counter()
    moved_count, sound = 0, True
    report = arguments.report.open("w") if arguments.report else None
    with tempfile.TemporaryDirectory() as root, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for model_type in arguments.types or BASES:
            own = collections.Counter()
            for label, verdict, detail, moved in compare(
                    arguments.binary, model_type, pool, arguments.match, arguments.every, arguments.offset, pathlib.Path(root)):
                own[verdict] += 1
                moved_count += moved
                if report:
                    report.write(json.dumps([model_type, label, verdict, detail, moved]) + "\n")
                    report.flush()
                if verdict in ("different", "crashed") or (label == "base" and verdict != "same"):
                    sound = False
                    print(f"{model_type}, {label}: {verdict}: {detail}", flush=True)
            print(f"{model_type}: {sum(own.values())} mutations, "
                  + ", ".join(f"{count} {verdict}" for verdict, count in sorted(own.items())), flush=True)
            counts += own
    print(f"{sum(counts.values())} mutations, " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in (
        "same", "refused", "unloadable", "different", "crashed")) + f"; {moved_count} moved the original's loss")
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
