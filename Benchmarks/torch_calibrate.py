"""What users do today: PyTorch + transformers with forward hooks, the whole model in memory.

    python torch_calibrate.py MODEL DATA.jsonl --rows 32 --seq-length 512 [--dtype bfloat16] [--device cpu] [--batch 1]
        [--no-hooks] [--export OUT]

Gathers the same statistics as `coppice prune` (mean over tokens of |x|, squared and summed over rows, at every norm,
down projection and output projection; cosine of every layer's input and output), prints one JSON line: seconds to
import, load and calibrate, and tokens per second. With --export it also cuts layers and ffn channels by them and saves
the result.
"""

import argparse
import json
import time

START = time.perf_counter()
import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402


def rows_of(path, tokenizer, count, length):
    stream = []
    with open(path) as file:
        for line in file:
            stream += tokenizer(json.loads(line)["text"], add_special_tokens=False)["input_ids"]
            stream.append(tokenizer.eos_token_id)
            if len(stream) >= count * length:
                break
    while len(stream) < count * length:
        stream += stream
    return [stream[i * length:(i + 1) * length] for i in range(count)]


class Statistics:
    def __init__(self, model):
        self.sums, self.layers = {}, {}
        for number, layer in enumerate(model.model.layers):
            for name in ("input_layernorm", "post_attention_layernorm"):
                getattr(layer, name).register_forward_hook(
                    lambda m, x, y, key=(name, number): self.add(key, y))
            layer.mlp.down_proj.register_forward_pre_hook(lambda m, x, key=("ffn", number): self.add(key, x[0]))
            layer.self_attn.o_proj.register_forward_pre_hook(lambda m, x, key=("heads", number): self.add(key, x[0]))
            layer.register_forward_hook(lambda m, x, y, key=number: self.layer(key, x[0], y))

    def add(self, key, x):
        squares = x.to(torch.float32).abs().mean(dim=1).pow(2).sum(dim=0)
        self.sums[key] = self.sums[key] + squares if key in self.sums else squares

    def layer(self, key, x, y):
        y = y[0] if isinstance(y, tuple) else y
        cosine = torch.nn.functional.cosine_similarity(x.float(), y.float(), dim=-1).mean()
        self.layers[key] = self.layers.get(key, 0) + (1 - cosine)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--seq-length", type=int, default=512)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu", help="where the whole model has to fit")
    parser.add_argument("--batch", type=int, default=1, help="rows at once")
    parser.add_argument("--no-hooks", action="store_true")
    parser.add_argument("--export")
    a = parser.parse_args()
    imported = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, a.dtype)).eval().to(a.device)
    rows = rows_of(a.data, tokenizer, a.rows, a.seq_length)
    statistics = None if a.no_hooks else Statistics(model)
    batches = [torch.tensor(rows[at:at + a.batch], device=a.device) for at in range(0, len(rows), a.batch)]
    finish = getattr(torch, a.device.split(":")[0]).synchronize
    finish()
    loaded = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            # Importance needs no logits: the body without the head, as the contract has it.
            model.model(batch)
        finish()
    done = time.perf_counter()
    if a.export:
        keep = sorted(sorted(statistics.layers, key=lambda n: -statistics.layers[n])[: len(statistics.layers) * 3 // 4])
        model.model.layers = torch.nn.ModuleList(model.model.layers[n] for n in keep)
        model.config.num_hidden_layers = len(keep)
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = [model.config.layer_types[n] for n in keep]
        for layer, number in zip(model.model.layers, keep):
            kept = statistics.sums[("ffn", number)].topk(model.config.intermediate_size // 2).indices.sort().values
            mlp = layer.mlp
            mlp.gate_proj.weight = torch.nn.Parameter(mlp.gate_proj.weight[kept])
            mlp.up_proj.weight = torch.nn.Parameter(mlp.up_proj.weight[kept])
            mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight[:, kept])
        model.config.intermediate_size //= 2
        model.save_pretrained(a.export)
        tokenizer.save_pretrained(a.export)
    end = time.perf_counter()
    print(json.dumps({
        "import": imported - START, "load": loaded - imported, "calibrate": done - loaded, "total": end - START,
        "tokens_per_second": a.rows * a.seq_length / (done - loaded),
        "device_mib": torch.cuda.max_memory_allocated() / 2**20 if a.device.startswith("cuda") else None}))


if __name__ == "__main__":
    main()
