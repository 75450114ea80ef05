"""The reference's way to score candidates: one after another, full logits, PyTorch + transformers.

    python torch_score.py MODEL TEST.jsonl CANDIDATES.json [--percent 55] [--batch 1] [--fraction 1.0]

CANDIDATES.json is a list of export_configs, as `coppice plan --json` has them. For each one a random model of that
shape is built, then MMLU-format questions go through it in the order of the data: logits of every position, argmax
over the four answer tokens at the last one. Only those forward passes are timed. With --fraction a fixed random part
of the batches is timed for each candidate, and scaled up by the tokens; each length is then met once before, as it
mostly would have been in the whole. Prints one JSON line.
"""

import argparse
import collections
import json
import random
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

NAMES = {"hidden_size": "hidden_size", "ffn_hidden_size": "intermediate_size", "num_layers": "num_hidden_layers",
         "num_attention_heads": "num_attention_heads"}


def questions(path, percent):
    """Of each subject the first questions while index < percent / 100 × the subject's count."""
    with open(path) as file:
        found = [json.loads(line) for line in file]
    counts, seen = collections.Counter(q["subject"] for q in found), collections.Counter()
    for question in found:
        index = seen[question["subject"]]
        seen[question["subject"]] += 1
        if index < percent / 100 * counts[question["subject"]]:
            yield question


def prompt(question):
    choices = "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", question["choices"]))
    return ("The following are multiple choice questions (with answers) about "
            f"{question['subject'].replace('_', ' ')}.\n\n{question['question']}{choices}\nAnswer:")


def batches_of(prompts, size):
    """(tokens padded on the right, index of each last token): attention is causal, so padding needs no mask."""
    for start in range(0, len(prompts), size):
        rows = prompts[start:start + size]
        longest = max(map(len, rows))
        yield (torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
               torch.tensor([len(row) - 1 for row in rows]))


def build(config, candidate, dtype):
    """A random model of a candidate's shape."""
    config = AutoConfig.for_model(**config.to_dict())
    for name, value in candidate.items():
        setattr(config, NAMES[name], value)
    config.layer_types = ["full_attention"] * config.num_hidden_layers
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def answers(model, batch, choices):
    tokens, last = batch
    logits = model(input_ids=tokens).logits
    return logits[torch.arange(len(last)), last][:, choices].argmax(dim=-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("candidates")
    parser.add_argument("--percent", type=float, default=55)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--dtype", default="bfloat16")
    a = parser.parse_args()
    tokenizer, config = AutoTokenizer.from_pretrained(a.model), AutoConfig.from_pretrained(a.model)
    choices = [tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][-1] for letter in "ABCD"]
    prompts = [tokenizer(prompt(question))["input_ids"] for question in questions(a.questions, a.percent)]
    batches = list(batches_of(prompts, a.batch))
    total = sum(batch[0].numel() for batch in batches)
    with open(a.candidates) as file:
        candidates = json.load(file)
    found = []
    with torch.inference_mode():
        for number, candidate in enumerate(candidates):
            model = build(config, candidate, getattr(torch, a.dtype))
            part = batches
            if a.fraction < 1:
                count = max(1, round(a.fraction * len(batches)))
                part = random.Random(number).sample(batches, count)
            # The first batch starts threads and fills caches; of a part, every length has to be met before.
            for batch in {b[0].shape: b for b in (part if a.fraction < 1 else part[:1])}.values():
                answers(model, batch, choices)
            start = time.perf_counter()
            for batch in part:
                answers(model, batch, choices)
            seconds = time.perf_counter() - start
            tokens = sum(batch[0].numel() for batch in part)
            found.append({"seconds": seconds * total / tokens, "timed_seconds": seconds, "timed_tokens": tokens})
            del model
    print(json.dumps({
        "seconds": sum(one["seconds"] for one in found), "questions": len(prompts), "batch": a.batch,
        "fraction": a.fraction, "padded_tokens": total, "tokens": sum(map(len, prompts)), "candidates": found}))


if __name__ == "__main__":
    main()
