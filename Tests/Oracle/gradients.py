"""Gradients of Coppice's blocks against those of PyTorch, elementwise, on every family's golden checkpoint.

Usage: gradients.py --binary PROGRAM [--numeric] [WORDS …]

PROGRAM is the built `gradients` (Tests/Gradients), or one in whose folder that lies. WORDS choose checkpoints by their names. Losses are cross-entropy of the next
token, and KL from a teacher: the same model with other weights. All in float32. A tensor's gradient may differ by 1e-4 of
its largest element; where a router's choice decides, both sides must have chosen alike, which they do in float32.

With --numeric no gradient of PyTorch's is asked: each tensor is moved a little to both sides in a random direction, and what the loss
changes by, with everything computed in float64, is compared with the gradient along that direction. It may differ by 1e-4 of the
gradient's norm.
"""

import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

import own_types  # noqa: F401  makes types known

GOLDENS = os.path.join(os.path.dirname(__file__), "..", "Goldens")
TOLERANCE = 1e-4
# Gemma 4's tables of the layers' own inputs are left as they are.
RESTING = "embed_tokens_per_layer"
EAGER = dict(dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")


def load(directory, dtype=torch.float32):
    """As `transformers` computes it without kernels of others; a Kimi K2 under the name that it knows."""
    settings = json.load(open(os.path.join(directory, "config.json")))
    eager = EAGER | {"dtype": dtype}
    if settings["model_type"] != "kimi_k2":
        return transformers.AutoModelForCausalLM.from_pretrained(directory, **eager).eval()
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(directory, place, dirs_exist_ok=True)
        with open(f"{place}/config.json", "w") as file:
            json.dump(settings | {"model_type": "deepseek_v3"}, file)
        return transformers.AutoModelForCausalLM.from_pretrained(place, **eager).eval()


def perturbed(directory, target):
    """The same checkpoint with other weights: a teacher."""
    os.makedirs(target)
    shutil.copy(os.path.join(directory, "config.json"), target)
    generator = torch.Generator().manual_seed(11)
    tensors = load_file(os.path.join(directory, "model.safetensors"))
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            noise = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensors[name] = tensor + 0.2 * noise * tensor.float().std().to(tensor.dtype)
    save_file(tensors, os.path.join(target, "model.safetensors"), metadata={"format": "pt"})


def logits_of(model, row):
    return model(torch.tensor([row[:-1]]), use_cache=False).logits[0].float()


def loss_of(model, teacher, row, temperature):
    logits = logits_of(model, row)
    if teacher is None:
        return torch.nn.functional.cross_entropy(logits, torch.tensor(row[1:]))
    with torch.no_grad():
        theirs = torch.log_softmax(logits_of(teacher, row) / temperature, -1)
    ours = torch.log_softmax(logits / temperature, -1)
    return (theirs.exp() * (theirs - ours)).sum(-1).mean() * temperature**2


def expected(model, teacher, rows, temperature):
    total = [0.0, 0.0]
    model.zero_grad()
    for row in rows:
        loss = loss_of(model, teacher, row, temperature)
        total[1 if teacher is None else 0] += loss.item() / len(rows)
        (loss / len(rows)).backward()
    return total


@contextlib.contextmanager
def wide():
    """Where models narrow to float32 they do not."""
    names = [(torch, "float32", torch.float64), (torch, "float", torch.float64), (torch.Tensor, "float", torch.Tensor.double)]
    before = [(place, name, getattr(place, name)) for place, name, _ in names]
    for place, name, value in names:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def numeric_faults(model, teacher, rows, temperature, gradients):
    """`gradients` is a model whose weights are what Coppice found."""
    found = {name: tensor.detach() for name, tensor in gradients.named_parameters()}
    largest = max(float(tensor.norm()) for tensor in found.values())
    generator = torch.Generator().manual_seed(5)
    faults = []
    with torch.no_grad(), wide():
        for name, parameter in model.named_parameters():
            if RESTING in name:
                continue
            direction = torch.randint(0, 2, parameter.shape, generator=generator).to(parameter.dtype) * 2 - 1
            step = 1e-5 * max(float(parameter.square().mean().sqrt()), 1e-2)
            sides = []
            for sign in (1, -2):
                parameter.add_(direction, alpha=sign * step)
                sides.append(sum(float(loss_of(model, teacher, row, temperature)) for row in rows) / len(rows))
            parameter.add_(direction, alpha=step)
            slope = (sides[0] - sides[1]) / (2 * step)
            along = float((found[name] * direction).sum())
            scale = max(float(found[name].norm()), 1e-3 * largest)
            if not abs(slope - along) <= TOLERANCE * scale:
                faults.append(f"{name}: {along:.6e} along a direction, {slope:.6e} by differences; the norm is {scale:.2e}")
    return faults


def stored_gradients(model, directory):
    """Gradients by the names and in the layout of the checkpoint: a save of a model that holds them as its weights."""
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.zero_()
        for parameter in model.parameters():
            parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
    model.save_pretrained(directory)
    return load_file(os.path.join(directory, "model.safetensors"))


def compare(program, directory, with_teacher, record, numeric):
    temperature = 1.5 if with_teacher else 1.0
    dtype = torch.float64 if numeric else torch.float32
    model = load(directory, dtype)
    vocabulary = model.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randint(0, vocabulary, (length,), generator=generator).tolist() for length in (25, 14)]
    with tempfile.TemporaryDirectory() as place:
        arguments = [program, directory, f"{place}/rows.json", f"{place}/out", "--temperature", str(temperature)]
        with open(f"{place}/rows.json", "w") as file:
            json.dump(rows, file)
        teacher = None
        if with_teacher:
            perturbed(directory, f"{place}/teacher")
            teacher = load(f"{place}/teacher", dtype)
            arguments += ["--teacher", f"{place}/teacher"]
        if record:
            arguments.append("--record")
        result = subprocess.run(arguments, capture_output=True, text=True)
        if result.returncode != 0:
            return [result.stderr.strip()[-300:]]
        if numeric:
            shutil.copy(f"{directory}/config.json", f"{place}/out")
            # Experts that no token has come to have none.
            own = load_file(f"{directory}/model.safetensors")
            nothing = {name: torch.zeros_like(tensor, dtype=torch.float32) for name, tensor in own.items()}
            save_file(nothing | load_file(f"{place}/out/model.safetensors"), f"{place}/out/model.safetensors", {"format": "pt"})
            gradients = load(f"{place}/out", dtype)
            # Routers and others are narrower than they are asked for.
            models = [one.double() if one is not None else None for one in (model, teacher, gradients)]
            return numeric_faults(*models[:2], rows, temperature, models[2])
        found = load_file(f"{place}/out/model.safetensors")
        losses = json.load(open(f"{place}/out/losses.json"))
        total = expected(model, teacher, rows, temperature)
        table = model.get_input_embeddings()
        padding = getattr(table, "padding_idx", None)
        embedding = next(name for name, value in model.named_parameters() if value is table.weight)
        truth = stored_gradients(model, f"{place}/truth")
    faults = []
    for name, value in (("divergence", total[0]), ("cross_entropy", total[1])):
        if (name == "divergence") == with_teacher and abs(losses[name] - value) > 1e-5 * max(abs(value), 1):
            faults.append(f"{name}: {losses[name]}, expected {value}")
    largest = max(float(tensor.float().abs().max()) for tensor in truth.values())
    for name, tensor in found.items():
        if name not in truth:
            faults.append(f"{name}: not in transformers' save")
            continue
        other = truth[name].float().reshape(tensor.shape)
        if name == embedding and padding is not None:
            # PyTorch gives the padding token's row no gradient of its look-ups.
            tensor[padding] = other[padding]
        # What is zero but for rounding (biases of keys) has no size of its own.
        scale = max(float(other.abs().max()), 1e-3 * largest)
        worst = float((tensor - other).abs().max()) / scale
        if not worst <= TOLERANCE:
            faults.append(f"{name}: differs by {worst:.2e} of its largest, {scale:.2e}")
    for name, tensor in truth.items():
        if name not in found and RESTING not in name and float(tensor.float().abs().max()) > 0:
            faults.append(f"{name}: has a gradient in PyTorch and none here")
    return faults


def main():
    program, words = os.path.join(os.path.dirname(sys.argv[2]), "gradients"), sys.argv[3:]
    numeric = words[:1] == ["--numeric"]
    words = words[numeric:]
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    directories = sorted(os.path.dirname(path) for path in glob.glob(f"{GOLDENS}/*/*/config.json"))
    directories = [d for d in directories if os.path.exists(f"{d}/model.safetensors")]
    directories = [d for d in directories if not words or any(word in d for word in words)]
    bad = 0
    for number, directory in enumerate(directories):
        name = "/".join(directory.split("/")[-2:])
        for with_teacher in (False, True):
            try:
                faults = compare(program, directory, with_teacher, record=number % 2 == 0, numeric=numeric)
            except Exception as error:  # a checkpoint that transformers cannot load is a fault of this program's
                faults = [f"{type(error).__name__}: {str(error)[:300]}"]
            kind = "KL" if with_teacher else "cross-entropy"
            print(f"{'ok ' if not faults else 'BAD'} {name}, {kind}", flush=True)
            for fault in faults[:6]:
                print("   ", fault)
            bad += bool(faults)
    print(f"{2 * len(directories) - bad} of {2 * len(directories)} alike")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
