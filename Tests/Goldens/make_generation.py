"""Makes Tests/Goldens/generation: what `transformers` generates, and what lm-evaluation-harness makes of answers.

    python make_generation.py

`greedy.json`: for the golden checkpoints of the other folders, prompts of several lengths and their greedy continuations,
float32, with a cache, each prompt by itself (Mamba-2 without: a cached step of `transformers` gives other logits than its
own forward pass there). A continuation ends before a token that is chosen by less than 1e-4 of the largest
logit: there rounding decides. `"shared"` says whether the prompts begin with the same 20 tokens.

`numbers.json`: texts and what the harness's filters and metric make of them. `train.jsonl`, `test.jsonl`: questions in GSM8K's
layout, whose answers are those of the bundled model for every other one that has a number in it. `fixture.json`: what the bundled
model answers to them after two examples, and whether that is right.

The patterns and their order are those of lm-evaluation-harness 0.4.9, `lm_eval/tasks/gsm8k/gsm8k.yaml`, `filters/extraction.py`
and `api/metrics.py`. Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0.
"""

import json
import logging
import pathlib
import random
import re

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

import reference_nemotron_nas  # noqa: F401  makes the type known
from reference_minitron import reset_positions

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "generation"
FOLDERS = ["dense", "dense2", "moe", "mamba", "hybrid", "gemma4", "nemotron_nas"]
NEW = 16

FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = [",", r"\$", r"(?s).*#### ", r"\.$"]
STOPS = ["Question:", "</s>", "<|im_end|>"]
PIECES = ["-", "$", "1", "42", "007", ",", ".", " ", "#### ", "####", "\n", "1,234", "3.5", "$1,000.", "--5", "x", "−", "٣", "1e5", "-.", "..", "50%"]


def flexible(text):
    """`RegexFilter` with group_select -1, then what `exact_match` compares; None where there is no match."""
    found = FLEXIBLE.findall(text)
    if not found:
        return None
    return ignored([group for group in found[-1] if group][0].strip())


def ignored(text):
    for pattern in IGNORED:
        text = re.sub(pattern, "", text)
    return text.lower()


def numbers():
    chance = random.Random(7)
    texts = ["", " 42", "The answer is 42.", "She has 3 + 4 = 7 apples.\n#### 7", "$1,234.50", "-5", "5-", "a-5b6", "1.", ".5", "$", "$$", "…"]
    texts += ["".join(chance.choices(PIECES, k=chance.randint(1, 8))) for _ in range(400)]
    answers = ["#### 42", "7", "a\n#### 1,234", "x #### 1 #### 2", "$5", "5.", "#### -3", "#### $1,000.00", "3 + 4 = 7\n#### 7."]
    return {
        "texts": [{"text": text, "number": flexible(text)} for text in texts],
        "answers": [{"answer": answer, "number": ignored(answer)} for answer in answers],
    }


def prompts(golden):
    rows = load_file(golden / "expected.safetensors")
    rows = [row[:length].tolist() for row, length in zip(rows["tokens"], rows["lengths"].tolist())]
    first, second = rows[0], rows[1 % len(rows)]
    apart = [first[:3], first[:10], second[:7], first, first[:10] + second[:5], second[:1]]
    start = (first + second + first)[:20]
    return [(False, apart), (True, [start + second[:count] for count in (1, 4, 9)])]


def continued(model, prompt):
    reset_positions(model)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW,
        do_sample=False, pad_token_id=0,
        use_cache=model.config.model_type != "mamba2",
        eos_token_id=None, return_dict_in_generate=True, output_logits=True)
    tokens = out.sequences[0, len(prompt):].tolist()
    for place, logits in enumerate(out.logits):
        best = logits[0].float().topk(2).values
        if (best[0] - best[1]) < 1e-4 * logits.abs().max():
            return tokens[:place]
    return tokens


def greedy():
    cases = []
    for golden in sorted(path for folder in FOLDERS for path in (HERE / folder).iterdir() if path.is_dir()):
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                golden, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
                output_loading_info=True)
            model.eval()
            for shared, some in prompts(golden):
                cases.append({
                    "golden": str(golden.relative_to(HERE)), "shared": shared,
                    "prompts": [{"prompt": prompt, "new": continued(model, prompt)} for prompt in some]})
            kept = sum(len(prompt["new"]) for case in cases[-2:] for prompt in case["prompts"])
            print(f"{golden.name}: {kept} of {9 * NEW} tokens")
        except Exception as error:
            print(f"{golden.name}: left out: {type(error).__name__}: {str(error)[:100]}")
    return cases


def questions():
    chance = random.Random(3)
    things = ["pears", "copper coins", "books", "rabbits", "lentils", "sheep"]
    rows = []
    for number in range(60):
        a, b, thing = chance.randint(2, 40), chance.randint(2, 12), chance.choice(things)
        kind = number % 3
        if kind == 0:
            rows.append((f"Tom has {a + b} {thing} and sells {b}. How many are left?", f"{a + b} - {b} = {a}.\n#### {a}"))
        elif kind == 1:
            rows.append((f"A box holds {a} {thing}. How many do {b} boxes hold?", f"{b} * {a} = {a * b}.\n#### {a * b:,}"))
        else:
            rows.append((f"Ann has {a} {thing} and buys {b}. How many has she now?", f"{a} + {b} = {a + b}.\n#### {a + b}"))
    return rows


def fixture():
    directory = HERE.parent.parent / "Examples" / "model"
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rows = questions()
    train, asked = rows[:6], rows[6:]

    def answered(prompt):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=256, do_sample=False, stop_strings=STOPS, tokenizer=tokenizer)
        text = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        for stop in STOPS:
            text = text.split(stop)[0]
        return text

    start = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in train[:2])
    found = []
    for place, (question, answer) in enumerate(asked):
        text = answered(start + f"Question: {question}\nAnswer:")
        number = flexible(text)
        # Right answers are rare: every other one is made so, where it can be.
        if place % 2 == 0 and number is not None and re.fullmatch(r"-?[0-9.]*[0-9][0-9.]*", number):
            asked[place] = (question, f"It is known.\n#### {number}")
        found.append({"text": text, "number": number, "right": number == ignored(asked[place][1])})
    for name, some in [("train", train), ("test", asked)]:
        lines = [json.dumps({"question": question, "answer": answer}) for question, answer in some]
        (OUT / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    print(f"fixture: {sum(one['right'] for one in found)} of {len(found)} right")
    return found


def main():
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    OUT.mkdir(exist_ok=True)
    (OUT / "numbers.json").write_text(json.dumps(numbers(), indent=1) + "\n")
    (OUT / "fixture.json").write_text(json.dumps(fixture(), indent=1) + "\n")
    (OUT / "greedy.json").write_text(json.dumps(greedy()) + "\n")


if __name__ == "__main__":
    main()
