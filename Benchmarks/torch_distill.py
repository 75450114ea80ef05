"""Distillation with PyTorch + transformers as one would write it: the side that `distillation.py` measures `coppice distill` against.

    python Benchmarks/torch_distill.py TEACHER STUDENT --dtype float32 --steps 6 --rows 8 --micro 4 --seq-length 512

Weights and AdamW's moments are float32; with bfloat16 both models compute under autocast, the teacher's weights being bfloat16. Prints
JSON: tokens per second of the median step after the first.
"""

import argparse
import json
import statistics
import time

import torch
import transformers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("teacher")
    parser.add_argument("student")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--seq-length", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    narrow = a.dtype == "bfloat16"
    load = transformers.AutoModelForCausalLM.from_pretrained
    teacher = load(a.teacher, dtype=torch.bfloat16 if narrow else torch.float32).eval().requires_grad_(False).to(a.device)
    student = load(a.student, dtype=torch.float32).to(a.device)
    kind = a.device.split(":")[0]
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.033, fused=True)
    vocabulary = student.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    seconds = []
    for _ in range(a.steps):
        start = time.perf_counter()
        for _ in range(a.rows // a.micro):
            tokens = torch.randint(0, vocabulary, (a.micro, a.seq_length), generator=generator).to(a.device)
            with torch.autocast(kind, torch.bfloat16, enabled=narrow):
                with torch.no_grad():
                    theirs = torch.log_softmax(teacher(tokens, use_cache=False).logits.float(), -1)
                ours = torch.log_softmax(student(tokens, use_cache=False).logits.float(), -1)
            loss = torch.nn.functional.kl_div(ours.flatten(0, 1), theirs.flatten(0, 1), log_target=True, reduction="batchmean")
            (loss * a.micro / a.rows).backward()
            del theirs, ours, loss
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        getattr(torch, kind).synchronize()
        seconds.append(time.perf_counter() - start)
    tokens = a.rows * a.seq_length
    print(json.dumps({"tokens_per_second": tokens / statistics.median(seconds[1:] or seconds)}))


if __name__ == "__main__":
    main()
