"""Makes Tests/Goldens/fixture/expected.json: what PyTorch says about the trained example model.

    python make_fixture.py [--model DIR] [--data DIR] [--cuts]

Multiple choice question by question, importances, kept sets, loss and KL, all in float32 with eager attention,
text encoded by the `tokenizers` library. `--cuts` also prints how importance compares with random choice (minutes).
"""

import argparse
import json
import logging
import math
import pathlib
import random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from reference_minitron import Statistics, choose, masked

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "Examples"
SEQ_LENGTH, CALIBRATION_ROWS, EVALUATION_ROWS = 192, 32, 16
EOS = "<|im_end|>"
CUTS = {
    "depth": {"num_layers": 6},
    "ffn": {"ffn_hidden_size": 256},
    "hidden": {"hidden_size": 128},
    "heads": {"num_attention_heads": 4},
}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def packed_rows(documents, tokenizer, count, separator=EOS):
    """[count, S]: documents in order, each followed by the separator, cut into rows of exactly S tokens."""
    end = tokenizer.token_to_id(separator)
    stream = []
    for document in documents:
        stream += tokenizer.encode(document["text"], add_special_tokens=False).ids + [end]
        if len(stream) >= count * SEQ_LENGTH:
            break
    assert len(stream) >= count * SEQ_LENGTH
    return torch.tensor(stream[: count * SEQ_LENGTH]).view(count, SEQ_LENGTH)


def prompt_of(question):
    subject = question["subject"].replace("_", " ")
    text = f"The following are multiple choice questions (with answers) about {subject}.\n\n{question['question']}"
    for letter, choice in zip("ABCD", question["choices"]):
        text += f"\n{letter}. {choice}"
    return text + "\nAnswer:"


def answer_logits(model, tokenizer, questions):
    """[questions, 4] at the last position. Prompts of one length run together, so nothing is ever padded."""
    letters = [tokenizer.encode(f" {letter}", add_special_tokens=False).ids[-1] for letter in "ABCD"]
    lengths = {}
    for i, question in enumerate(questions):
        ids = tokenizer.encode(prompt_of(question)).ids
        lengths.setdefault(len(ids), []).append((i, ids))
    out = torch.zeros(len(questions), 4)
    for group in lengths.values():
        for first in range(0, len(group), 32):
            batch = group[first : first + 32]
            ids = torch.tensor([ids for _, ids in batch])
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1, letters]
            out[[i for i, _ in batch]] = logits.float()
    return out


def accuracy(logits, questions, percent=100):
    """Over the first questions of each subject, while their index is below percent/100 of the subject's count."""
    counts, seen, right, total = {}, {}, 0, 0
    for question in questions:
        counts[question["subject"]] = counts.get(question["subject"], 0) + 1
    for prediction, question in zip(logits.argmax(dim=-1).tolist(), questions):
        index = seen.get(question["subject"], 0)
        seen[question["subject"]] = index + 1
        if index < percent / 100 * counts[question["subject"]]:
            right += prediction == question["answer"]
            total += 1
    return right / total


def log_probabilities(model, rows):
    """[rows, S, V] in float64 from float32 logits."""
    return torch.cat([model(input_ids=row[None], use_cache=False).logits.double().log_softmax(-1) for row in rows])


def mean_loss(log_p, rows):
    return float(F.nll_loss(log_p[:, :-1].flatten(0, 1), rows[:, 1:].flatten()))


def kl(base, other):
    """Mean KL(base ‖ other) per position, over all positions and over those that predict a token of the row."""
    per_position = (base.exp() * (base - other)).sum(-1)
    return {"all_positions": float(per_position.mean()), "predicted": float(per_position[:, :-1].mean())}


def document_perplexity(model, tokenizer, documents):
    total, count = 0.0, 0
    for document in documents:
        ids = torch.tensor([tokenizer.encode(document["text"], add_special_tokens=False).ids])
        total += mean_loss(log_probabilities(model, ids), ids) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    return math.exp(total / count)


def at_random(config, sizes, generator):
    """Kept sets of the same sizes with no regard to importance, heads still group by group."""
    noise = lambda *shape: torch.rand(*shape, generator=generator)
    layers = config.num_hidden_layers
    importances = {
        "hidden_size": noise(config.hidden_size),
        "ffn_hidden_size": noise(layers, config.intermediate_size),
        "num_attention_heads": noise(layers, config.num_attention_heads),
    }
    return choose(config, importances, noise(layers), sizes)[0]


def compare_cuts(model, tokenizer, questions, heldout, statistics, seeds=3):
    generator = torch.Generator().manual_seed(0)
    few = random.Random(0).sample(questions, 450)
    for name, sizes in CUTS.items():
        chosen, _ = choose(model.config, statistics.importances(), statistics.layer_scores(1), sizes)
        for label, kept in [("importance", chosen)] + [
            ("random", at_random(model.config, sizes, generator)) for _ in range(seeds)
        ]:
            with masked(model, kept):
                score = accuracy(answer_logits(model, tokenizer, few), few)
                perplexity = document_perplexity(model, tokenizer, heldout)
                print(f"{name} by {label}: {score:.2%}, ppl {perplexity:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, default=EXAMPLES / "model")
    parser.add_argument("--data", type=pathlib.Path, default=EXAMPLES / "data")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "fixture" / "expected.json")
    parser.add_argument("--cuts", action="store_true")
    arguments = parser.parse_args()
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)

    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    load = lambda dtype: AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=dtype, attn_implementation="eager"
    ).eval()
    model = load(torch.float32)
    questions = lines(arguments.data / "mmlu" / "test.jsonl")
    heldout = lines(arguments.data / "heldout.jsonl")

    logits = answer_logits(model, tokenizer, questions)
    top = logits.topk(2, dim=-1).values
    print(f"accuracy {accuracy(logits, questions):.4%}, narrowest margin {float((top[:, 0] - top[:, 1]).min()):.2g}")
    print(f"in bfloat16 {accuracy(answer_logits(load(torch.bfloat16), tokenizer, questions), questions):.4%}")
    print(f"held-out perplexity per document {document_perplexity(model, tokenizer, heldout):.4f}")
    for separator in (EOS, "<|endoftext|>"):
        rows = packed_rows(heldout, tokenizer, 64, separator)
        print(f"held-out loss over packed rows with {separator} {mean_loss(log_probabilities(model, rows), rows):.4f}")

    rows = packed_rows(lines(arguments.data / "calib.jsonl"), tokenizer, CALIBRATION_ROWS + EVALUATION_ROWS)
    calibration, evaluation = rows[:CALIBRATION_ROWS], rows[CALIBRATION_ROWS:]
    statistics = Statistics(model).run(model, calibration, [SEQ_LENGTH] * CALIBRATION_ROWS)
    scores = statistics.layer_scores(1)
    base = log_probabilities(model, evaluation)
    variant = {
        "hidden_size": list(range(model.config.hidden_size)),
        "ffn_hidden_size": [list(range(model.config.intermediate_size))] * model.config.num_hidden_layers,
        "num_attention_heads": [list(range(model.config.num_attention_heads))] * model.config.num_hidden_layers,
        "num_layers": [1, 3, 5, 6, 7, 8],
    }
    with masked(model, variant):
        cut = log_probabilities(model, evaluation)
        cut_logits = answer_logits(model, tokenizer, questions)
    prunings = []
    for name, sizes in CUTS.items():
        kept, gap = choose(model.config, statistics.importances(), scores, sizes)
        pruned_part = next(iter(sizes))
        prunings.append({"name": name, "export_config": sizes, "kept": kept[pruned_part], "smallest_gap": gap})
    print(f"layers by score: {[i + 1 for i in sorted(range(8), key=lambda i: -scores[i])]}")

    digits = lambda tensor: [
        digits(row) if row.dim() else float(f"{float(row):.9g}") for row in tensor
    ]
    expected = {
        "mmlu": {
            "accuracy": {str(p): accuracy(logits, questions, p) for p in (5, 10, 100)},
            "predictions": "".join("ABCD"[i] for i in logits.argmax(dim=-1).tolist()),
            "logits": [[round(float(x), 5) for x in row] for row in logits],
        },
        "calibration": {
            "seq_length": SEQ_LENGTH,
            "rows": CALIBRATION_ROWS,
            "first_tokens": calibration[:, :8].tolist(),
            "importance": {k: digits(v) for k, v in statistics.importances().items()}
            | {"num_layers.mb1": digits(scores), "num_layers.mb4": digits(statistics.layer_scores(4))},
            "prunings": prunings,
        },
        "evaluation": {
            "rows": EVALUATION_ROWS,
            "first_tokens": evaluation[:, :8].tolist(),
            "loss": mean_loss(base, evaluation),
        },
        "without_layers_2_and_4": {
            "accuracy": accuracy(cut_logits, questions),
            "predictions": "".join("ABCD"[i] for i in cut_logits.argmax(dim=-1).tolist()),
            "loss": mean_loss(cut, evaluation),
            "kl": kl(base, cut),
        },
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    summary = {k: v for k, v in expected["without_layers_2_and_4"].items() if k != "predictions"}
    print(f"loss {expected['evaluation']['loss']:.4f}; without layers 2 and 4: {summary}")
    print(expected["mmlu"]["accuracy"], arguments.output.stat().st_size, "bytes")
    if arguments.cuts:
        compare_cuts(model, tokenizer, questions, heldout, statistics)


if __name__ == "__main__":
    main()
