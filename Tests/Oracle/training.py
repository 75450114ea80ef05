"""`coppice distill` against a plain loop of PyTorch and `transformers`: the losses of each of 100 steps.

Usage: training.py --binary COPPICE [WORDS …]

WORDS choose checkpoints of Tests/Goldens. The student is the golden checkpoint, the teacher the same with other weights. Both sides
learn from the same rows, in float32, by AdamW with warm-up, a cosine, weight decay on matrices alone and clipped gradients; a loss
may differ by 1e-3. Then the trained
checkpoint is loaded by `transformers`: its weights are those of the loop's model but for their rounding.
"""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy
import tokenizers
import torch
import transformers

from gradients import EAGER, GOLDENS, RESTING, load, perturbed

STEPS, ROWS, LENGTH = 100, 4, 32
RATE, LEAST, WARMUP, DECAY = 1e-3, 1e-4, 10, 0.033


def write_tokens(prefix, documents):
    """An indexed dataset of Megatron's, written from its description."""
    flat = numpy.concatenate([numpy.array(document, dtype="<u2") for document in documents])
    flat.tofile(prefix + ".bin")
    lengths = numpy.array([len(document) for document in documents], dtype="<i4")
    places = numpy.concatenate([[0], numpy.cumsum(lengths[:-1].astype("<i8") * 2)]).astype("<i8")
    with open(prefix + ".idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") + bytes([8]))
        file.write(len(documents).to_bytes(8, "little") + (len(documents) + 1).to_bytes(8, "little"))
        file.write(lengths.tobytes() + places.tobytes())
        file.write(numpy.arange(len(documents) + 1, dtype="<i8").tobytes())


def rate(step):
    if step <= WARMUP:
        return RATE * step / WARMUP
    return LEAST + (RATE - LEAST) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def training_rows(document, count):
    """Rows as pretraining cuts them: the document over and over, its stretches shuffled as Python's `random` does it."""
    places = list(range(count))
    random.Random(1234).shuffle(places)
    stream = document * (count * LENGTH // len(document) + 2)
    return [stream[place * LENGTH : (place + 1) * LENGTH + 1] for place in places]


def tokenizer(vocabulary, directory):
    """One that has a word for each token."""
    words = tokenizers.models.WordLevel({f"w{number}": number for number in range(vocabulary)}, unk_token="w0")
    tokenizers.Tokenizer(words).save(f"{directory}/tokenizer.json")


def loop(student, teacher, rows, pairs):
    """Losses of each step. Layers that are compared are made as much of as the distributions are."""
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(RESTING not in name)
    learning = [p for p in student.parameters() if p.requires_grad]
    matrices = [p for p in learning if p.dim() > 1]
    others = [p for p in learning if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=RATE, betas=(0.9, 0.95), eps=1e-8,
    )
    losses = []
    for step in range(1, STEPS + 1):
        total = 0.0
        for row in rows[(step - 1) * ROWS : step * ROWS]:
            tokens = torch.tensor([row[:-1]])
            with torch.no_grad():
                theirs = teacher(tokens, use_cache=False, output_hidden_states=True)
            ours = student(tokens, use_cache=False, output_hidden_states=True)
            their_logs, our_logs = (torch.log_softmax(side.logits.float(), -1) for side in (theirs, ours))
            loss = (their_logs.exp() * (their_logs - our_logs)).sum(-1).mean() / ROWS
            total += loss.item()
            between = []
            for own, other, kind in pairs:
                a, b = ours.hidden_states[own][0], theirs.hidden_states[other][0]
                each = 1 - torch.cosine_similarity(a, b, -1) if kind == "cosine" else (a - b).square().sum(-1)
                between.append(each.mean())
            if between:
                between = sum(between) / len(between)
                loss = loss + between * (loss / between).detach()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def compare(coppice, directory, pairs=()):
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(directory, f"{place}/student")
        perturbed(directory, f"{place}/teacher")
        student, teacher = load(f"{place}/student"), load(f"{place}/teacher")
        vocabulary = student.config.get_text_config().vocab_size
        padding = getattr(student.get_input_embeddings(), "padding_idx", None)
        # One document of many rows, without the token whose embedding PyTorch leaves alone: rows in their order are stretches of it.
        generator = torch.Generator().manual_seed(5)
        kinds = [token for token in range(vocabulary) if token != padding]
        choice = torch.randint(0, len(kinds), (40 * LENGTH + 1,), generator=generator).tolist()
        document = [kinds[number] for number in choice]
        write_tokens(f"{place}/text", [document])
        for side in ("student", "teacher"):
            tokenizer(vocabulary, f"{place}/{side}")
        result = subprocess.run(
            [coppice, "distill", "--student_hf_path", f"{place}/student", "--teacher_hf_path", f"{place}/teacher",
             "--output_dir", f"{place}/out", "--data_paths", f"{place}/text", "--split", "1,0,0", "--seq_length", str(LENGTH),
             "--mbs", "1", "--gbs", str(ROWS), "--train_iters", str(STEPS), "--lr", str(RATE), "--min_lr", str(LEAST),
             "--lr_warmup_iters", str(WARMUP), "--eval_iters", "0", "--log_interval", "1", "--save_interval", "1000",
             "--compute_dtype", "float32", *(["--intermediate_layer_pairs"] if pairs else []),
             *(":".join(map(str, pair)) for pair in pairs)],
            capture_output=True, text=True,
        )
        if result.returncode != 0:
            return [result.stderr.strip()[-400:]]
        found = [json.loads(line)["kl"] for line in open(f"{place}/out/metrics.jsonl")]
        rows = training_rows(document, STEPS * ROWS)
        expected = loop(student, teacher, rows, pairs)
        faults = []
        if len(found) != STEPS:
            faults.append(f"{len(found)} lines of metrics for {STEPS} steps")
        worst = max(abs(a - b) for a, b in zip(found, expected))
        if not worst <= 1e-3:
            step = next(n for n, (a, b) in enumerate(zip(found, expected), 1) if not abs(a - b) <= 1e-3)
            faults.append(f"losses differ by up to {worst:.2e}, first at step {step}: {found[step - 1]}, {expected[step - 1]}")
        trained = transformers.AutoModelForCausalLM.from_pretrained(f"{place}/out/hf", **EAGER).eval()
        # Weights are stored in bfloat16 where the student's are: a rounding apart, 2⁻⁸ of each.
        ours, theirs = trained.state_dict(), student.state_dict()
        gap = max(
            float(((ours[name] - value).abs() / (value.abs() + 1e-3 * value.abs().max() + 1e-12)).max())
            for name, value in theirs.items() if value.is_floating_point()
        )
        if not gap <= 2**-7:
            faults.append(f"the trained checkpoint's weights differ by {gap:.2e}")
        print(f"    {expected[0]:.4f} → {expected[-1]:.4f}, losses within {worst:.1e}, weights within {gap:.1e}")
    return faults


def main():
    usual = ["llama3", "qwen3_tied", "gemma2_tied", "mixtral", "nemotron_h_pattern", "deepseek_v3", "jamba", "shared"]
    coppice, words = sys.argv[2], sys.argv[3:] or usual
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    bad = 0
    names = sorted(name for kind in os.listdir(GOLDENS) for name in golden_names(kind) if os.path.basename(name) in words)
    for name in names:
        # Layers as well, of one of them.
        for pairs in [(), ((1, 1, "cosine"), (2, 1, "mse"))] if name == "dense/qwen3_tied" else [()]:
            faults = compare(coppice, os.path.join(GOLDENS, name), pairs)
            print(f"{'BAD' if faults else 'ok '} {name}: {STEPS} steps{', with layers' if pairs else ''}", flush=True)
            for fault in faults:
                print("   ", fault)
            bad += bool(faults)
    print(f"all of {len(names)} alike" if bad == 0 else f"{bad} are not alike")
    sys.exit(bad > 0 or not names)


def golden_names(kind):
    place = os.path.join(GOLDENS, kind)
    if not os.path.isdir(place):
        return []
    return [f"{kind}/{name}" for name in os.listdir(place) if os.path.exists(f"{place}/{name}/model.safetensors")]


main()
