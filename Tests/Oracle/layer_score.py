"""What `coppice prune --layer_score kl` measures, again in PyTorch and transformers: the divergence of a model without each layer.

    .deps/venv/bin/python Tests/Oracle/layer_score.py --binary .build/release/coppice [MODEL]...

The bundled model and random ones that `transformers` makes (latent attention, a mixture of experts, a hybrid of Mamba and attention),
in float32 here and float64 there. A layer is left out by giving on what it reads. One line a model; the last line counts.
"""

import json
import subprocess

import torch
import transformers
import cases
from cases import ROOT
from refit import COMMON, deepseek, llama, made, nemotron
from transformers import AutoModelForCausalLM

ROWS, LENGTH = 12, 64
TOLERANCE = 1e-6  # Of the largest divergence, plus of each.


def experts(folder):
    config = transformers.Qwen3MoeConfig(
        **COMMON, head_dim=16, moe_intermediate_size=48, num_experts=8, num_experts_per_tok=2, norm_topk_prob=True)
    made(config, transformers.Qwen3MoeForCausalLM, folder)


MODELS = {"bundled": None, "llama": llama, "deepseek": deepseek, "experts": experts, "nemotron": nemotron}


def divergences(folder, rows):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager").eval()

    def predictions():
        with torch.no_grad():
            # The last position predicts nothing that is there.
            return [model(row, use_cache=False).logits[0, :-1].log_softmax(-1) for row in rows]

    def passing(_, arguments, keywords, output):
        read = arguments[0] if arguments else keywords["hidden_states"]
        return (read, *output[1:]) if isinstance(output, tuple) else read

    whole = predictions()
    tokens = sum(len(row) for row in whole)
    found = []
    for layer in model.base_model.layers:
        handle = layer.register_forward_hook(passing, with_kwargs=True)
        found.append(sum((p.exp() * (p - q)).sum().item() for p, q in zip(whole, predictions())) / tokens)
        handle.remove()
    return found


def compare(name, binary, work):
    model = ROOT / "Examples/model"
    if MODELS[name]:
        model = work / f"{name}-model"
        MODELS[name](model)
    flags = [
        "--hf_model_name_or_path", str(model), "--calib_dataset_name", str(ROOT / "Examples/data/calib.jsonl"), "--seq_length",
        str(LENGTH), "--calib_num_samples", str(2 * ROWS)]
    out = work / name
    # A budget so small that the rows are walked in several chunks.
    subprocess.run(
        [binary, "prune", *flags, "--compute_dtype", "float32", "--prune_export_config", '{"num_layers": 2}', "--layer_score", "kl",
         "--layer_score_rows", str(ROWS), "--memory_budget", "256KiB", "--output_hf_path", str(out), "--prune_intermediate_ckpt",
         str(work / f"{name}-kept"), "--quiet"], check=True)
    listed = subprocess.run([binary, "tokenize", *flags], check=True, capture_output=True, text=True).stdout
    rows = [torch.tensor([json.loads(line)]) for line in listed.splitlines()[:ROWS]]
    expected = divergences(model, rows)
    scores = json.loads((out / "coppice_importance.json").read_text())["scores"]["num_layers_kl"]
    off = max(abs(a - b) / (max(expected) + abs(b)) for a, b in zip(scores, expected, strict=True))
    kept = json.loads((out / "coppice.json").read_text())["kept_layers"]
    best = sorted(range(len(scores)), key=lambda layer: -expected[layer])
    return off, len(scores), kept, sorted(layer + 1 for layer in best[:2])


def check(name, binary, work):
    off, count, kept, best = compare(name, binary, work)
    assert off < TOLERANCE, f"{off:.1e} off"
    # Of the hybrid one that attends is kept whatever its rank.
    assert kept == best or name == "nemotron", f"kept {kept}, the best are {best}"
    return f"{count} layers, at most {off:.1e} off; kept {kept}"


if __name__ == "__main__":
    cases.run(__doc__, MODELS, check)
