"""Makes Tests/Goldens/variants: other configs over the weights of other goldens, and what `transformers` computes then.

    python make_variants.py

`losses.json`: for each variant the golden whose weights it has, the keys of config.json that it sets (null in `drops`: takes
out), and the loss per token over the golden's rows, float32, each row by itself. `generated.safetensors`: greedy continuations
with a cache, past the length at which positions change: `<name>.tokens` [S], prompt and continuation, and `<name>.logits`
[N, V], those that each new token was chosen by; `generated.json` says which config each has.

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0.
"""

import json
import logging
import pathlib
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from reference_minitron import reset_positions

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "variants"

LINEAR = {"rope_type": "linear", "factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16}
LONGROPE = {"rope_type": "longrope", "short_factor": [1 + 0.3 * i for i in range(6)],
            "long_factor": [2 + 0.9 * i for i in range(6)]}
SECTIONS = {"full_attention": {"rope_type": "default", "rope_theta": 777.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}

# (golden, keys set, keys taken out)
VARIANTS = {
    "gemma3 scaling over sections": ("dense2/gemma3_list", {"rope_scaling": LINEAR, "rope_parameters": SECTIONS}, []),
    "gemma3 scaling without sections": ("dense2/gemma3_list", {"rope_scaling": LINEAR, "rope_theta": 777.0},
                                        ["rope_parameters"]),
    "gemma3 scaling by its oldest name": ("dense2/gemma3_list", {"rope_scaling": {"type": "linear", "factor": 4.0}},
                                          ["rope_parameters"]),
    "gemma3 scaling by its oldest name over sections": (
        "dense2/gemma3_list", {"rope_scaling": {"type": "linear", "factor": 4.0},
                               "rope_parameters": {"full_attention": {"rope_theta": 777.0}, "sliding_attention": None}}, []),
    "gemma3 original length outside": ("dense2/gemma3_list", {
        "original_max_position_embeddings": 64,
        "rope_parameters": SECTIONS | {"full_attention": YARN | {"rope_theta": 777.0}}}, []),
    "llama both spellings": ("dense/llama_dynamic", {
        "rope_scaling": LINEAR, "rope_parameters": {"rope_type": "default", "rope_theta": 31.0}}, []),
    "llama both spellings, empty scaling": ("dense/llama_dynamic", {
        "rope_scaling": {}, "rope_parameters": {"rope_type": "default", "rope_theta": 31.0}}, []),
    "llama original length outside": ("dense/llama_dynamic", {
        "rope_scaling": YARN, "original_max_position_embeddings": 64}, []),
    "llama longrope": ("dense/llama_dynamic", {
        "rope_scaling": LONGROPE | {"original_max_position_embeddings": 30}}, []),
    "phi3 original length inside": ("dense2/phi3_longrope", {
        "rope_scaling": LONGROPE | {"original_max_position_embeddings": 16}}, ["original_max_position_embeddings"]),
    "smollm3 listed windows that are not used otherwise": ("dense2/smollm3_list", {
        "use_sliding_window": False, "sliding_window": 5,
        "layer_types": ["sliding_attention"] + ["full_attention"] * 3}, []),
    "mistral list of null": ("dense/mistral_window", {"layer_types": None}, []),
    "mistral list of full layers": ("dense/mistral_list", {"layer_types": ["full_attention"] * 4}, []),
    "mistral list, absent window": ("dense/mistral_list", {}, ["sliding_window"]),
}

GENERATED = {
    "dynamic": ("dense/llama_dynamic", {}, []),
    "longrope": ("dense/llama_dynamic", {
        "max_position_embeddings": 64, "rope_scaling": LONGROPE | {"original_max_position_embeddings": 16}}, []),
    "phi3": ("dense2/phi3_longrope", {}, []),
}


def load(golden, changes, drops, scratch):
    source = HERE / golden
    config = json.loads((source / "config.json").read_text()) | changes
    for key in drops:
        del config[key]
    folder = pathlib.Path(scratch) / golden.replace("/", " ")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def loss(model, golden):
    expected = load_file(HERE / golden / "expected.safetensors")
    total, count = 0.0, 0
    for row, length in zip(expected["tokens"], expected["lengths"].tolist()):
        reset_positions(model)
        logits = model(input_ids=row[None, :length], use_cache=False).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, row[1:length], reduction="sum").item()
        count += length - 1
    return total / count


def main():
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    losses, described, tensors = [], [], {}
    for name, (golden, changes, drops) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            found = loss(load(golden, changes, drops, scratch), golden)
        losses.append({"name": name, "golden": golden, "sets": changes, "drops": drops, "loss": found})
        print(f"{name}: {found:.6f}")
    for name, (golden, changes, drops) in GENERATED.items():
        prompt = load_file(HERE / golden / "expected.safetensors")["tokens"][:1, :10]
        with tempfile.TemporaryDirectory() as scratch:
            model = load(golden, changes, drops, scratch)
        reset_positions(model)
        out = model.generate(prompt, max_new_tokens=12, min_new_tokens=12, do_sample=False, use_cache=True,
                             return_dict_in_generate=True, output_logits=True)
        tensors[f"{name}.tokens"] = out.sequences[0]
        tensors[f"{name}.logits"] = torch.cat(out.logits)
        described.append({"name": name, "golden": golden, "sets": changes, "drops": drops, "prompt": prompt.shape[1]})
        print(f"{name}: {out.sequences[0].tolist()}")
    (OUT / "losses.json").write_text(json.dumps(losses, indent=1) + "\n")
    (OUT / "generated.json").write_text(json.dumps(described, indent=1) + "\n")
    save_file(tensors, OUT / "generated.safetensors")


if __name__ == "__main__":
    main()
