"""The search that Model-Optimizer's prune_minitron.py runs, recomputed in plain Python from a config.json.

    python plan_reference.py [CONFIG OUTPUT PARAMS]

Without arguments it makes Tests/Goldens/plan/qwen3-8b.json (what `coppice plan --json` prints) from the
config.json beside it: Qwen3-8B, 6e9 parameters, num_attention_heads skipped, memory at 4096 tokens and batch 1.

Read for behaviour in NVIDIA's Model-Optimizer: modelopt/torch/prune/plugins/mcore_minitron.py (search),
modelopt/torch/nas/plugins/megatron.py (choices), megatron_model_stats.py (counts), modelopt/torch/utils/network.py
(divisibility). Before anything is written it must reproduce the search spaces, sizes, counts and candidates that
Model-Optimizer publishes in its examples; see `check_published`.
"""

import itertools
import json
import pathlib
import sys

PLAN = pathlib.Path(__file__).resolve().parent.parent / "Goldens" / "plan"
DIVISORS = {"num_layers": 2, "hidden_size": 256, "ffn_hidden_size": 512, "mamba_head_dim": 8, "num_moe_experts": 8}


# Search space


def rounded(value, divisor):
    """The nearest multiple of divisor (halves up, at least one of it), the next one if that loses over a tenth."""
    multiple = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return multiple + divisor if multiple < 0.9 * value else multiple


def multiples(original, divisor):
    reached = {rounded(c, divisor) for c in range(1, original + 1)}
    return sorted((reached & set(range(1, original + 1))) | {original})


def grouped(original, groups):
    """Heads: the same number from each group."""
    return [groups * n for n in range(1, original // groups + 1)]


def trimmed(choices, skip, max_width=0.40, max_depth=0.20):
    space = {}
    for name, values in choices.items():
        if name not in skip and len(values) > 1:
            largest_cut = max_depth if name == "num_layers" else max_width
            space[name] = values[int((1 - largest_cut) * len(values)) :]
    return space


def points(space):
    return [dict(zip(space, values)) for values in itertools.product(*space.values())]


# Counts. A model is {"config fields", "layers": one letter each}: A attention with MLP, * attention, - MLP, M Mamba-2


def parameters(m):
    hidden, ffn, heads, groups, dim = (m[k] for k in ("hidden_size", "ffn_hidden_size", "heads", "groups", "head_dim"))
    attention = hidden + hidden * dim * (heads + 2 * groups) + heads * dim * hidden
    attention += 2 * dim if m["qk_norm"] else 0
    attention += dim * (heads + 2 * groups) if m["qkv_bias"] else 0
    attention += hidden if m["o_bias"] else 0
    mlp = hidden + (3 if m["gated"] else 2) * hidden * ffn
    mamba = 0
    if "M" in m["layers"]:
        inner = m["mamba_num_heads"] * m["mamba_head_dim"]
        convolved = inner + 2 * m["mamba_groups"] * m["mamba_state"]
        mamba = hidden + hidden * (inner + convolved + m["mamba_num_heads"]) + inner * hidden
        mamba += convolved * (m["convolution"] + 1) + 3 * m["mamba_num_heads"] + inner
    size = {"A": attention + mlp, "*": attention, "-": mlp, "M": mamba}
    embeddings = m["vocab"] * hidden * (1 if m["tied"] else 2)
    return embeddings + hidden + sum(size[letter] for letter in m["layers"])


def memory_mb(m, tokens, batch):
    """Weights and caches in MiB, two bytes each."""
    values = parameters(m)
    for letter in m["layers"]:
        if letter in "A*":
            values += 2 * batch * tokens * m["groups"] * m["head_dim"]
        elif letter == "M":
            inner = m["mamba_num_heads"] * m["mamba_head_dim"]
            convolved = inner + 2 * m["mamba_groups"] * m["mamba_state"]
            values += batch * (convolved * (m["convolution"] - 1) + inner * m["mamba_state"])
    return values * 2 / 2**20


def reshaped(m, point, ranking):
    """The model at a point; which layers it keeps follows the ranking (1-based, best first)."""
    kept = sorted(ranking[: point.get("num_layers", len(m["layers"]))])
    return m | {k: v for k, v in point.items() if k != "num_layers"} | {
        "heads": point.get("num_attention_heads", m["heads"]),
        "layers": "".join(m["layers"][n - 1] for n in kept),
    }


def search(m, space, limit, ranking, tokens=4096, batch=1):
    """Every point not above the limit, most parameters first, equals in the order of the space."""
    fitting = []
    for point in points(space):
        candidate = reshaped(m, point, ranking)
        params = parameters(candidate)
        if params <= limit:
            fitting.append({"export_config": point, "params": params, "active_params": params,
                            "memory_mb": memory_mb(candidate, tokens, batch)})
    return sorted(fitting, key=lambda c: -c["params"])


# Qwen3 from its config.json


def qwen3(config):
    return {
        "vocab": config["vocab_size"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "heads": config["num_attention_heads"],
        "groups": config["num_key_value_heads"],
        "head_dim": config["head_dim"],
        "layers": "A" * config["num_hidden_layers"],
        "gated": True,
        "qk_norm": True,
        "qkv_bias": config["attention_bias"],
        "o_bias": config["attention_bias"],
        "tied": config["tie_word_embeddings"],
    }


def choices_of_dense(m):
    return {
        "num_layers": multiples(len(m["layers"]), DIVISORS["num_layers"]),
        "hidden_size": multiples(m["hidden_size"], DIVISORS["hidden_size"]),
        "num_attention_heads": grouped(m["heads"], m["groups"]),
        "ffn_hidden_size": multiples(m["ffn_hidden_size"], DIVISORS["ffn_hidden_size"]),
    }


def plan(config, limit, skip=("num_attention_heads",), top_k=10):
    m = qwen3(config)
    ranking = list(range(1, len(m["layers"]) + 1))  # layers are alike: which of them stay changes no count
    space = trimmed(choices_of_dense(m), skip)
    fitting = search(m, space, limit, ranking)
    whole = parameters(m)
    return {
        "model": {"params": whole, "active_params": whole, "memory_mb": memory_mb(m, 4096, 1)},
        "search_space": space,
        "size": len(points(space)),
        "fitting": len(fitting),
        "candidates": fitting[:top_k],
    }


# What Model-Optimizer publishes


NANO_9B = {  # nvidia/NVIDIA-Nemotron-Nano-9B-v2
    "vocab": 131072, "hidden_size": 4480, "ffn_hidden_size": 15680, "heads": 40, "groups": 8, "head_dim": 128,
    "layers": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-", "gated": False, "qk_norm": False,
    "qkv_bias": False, "o_bias": False, "tied": False, "mamba_num_heads": 128, "mamba_head_dim": 80,
    "mamba_groups": 8, "mamba_state": 128, "convolution": 4,
}
# The log names the layers dropped for a depth of 48; which two go next (55 and 56 here) agrees with all it prints.
NANO_9B_LAST = [55, 56, 47, 52, 45, 44, 50, 48, 46, 43]
NANO_9B_TOP = [  # num_layers, hidden_size, mamba_num_heads, mamba_head_dim, ffn_hidden_size
    (50, 4480, 128, 56, 15680), (56, 4096, 96, 80, 14336), (48, 4352, 120, 80, 13824), (56, 4352, 112, 80, 10240),
    (54, 4480, 104, 80, 11264), (46, 4480, 128, 72, 14848), (50, 4480, 112, 64, 15680), (54, 4096, 112, 80, 13312),
    (56, 4352, 120, 72, 10752), (52, 4352, 120, 72, 12800),
]


def check_published(qwen3_config):
    def billions(count):
        return f"{count / 1e9:.2f}B"

    # examples/pruning/minitron_vs_puzzletron/README.md, Qwen3-8B.
    m = qwen3(qwen3_config)
    ranking = list(range(1, 37))
    assert billions(parameters(reshaped(m, {"num_layers": 32, "hidden_size": 3840}, ranking))) == "6.96B"
    assert billions(parameters(reshaped(m, {"num_layers": 22}, ranking))) == "5.49B"
    # scenario1_minitron.ipynb beside it: the winner among ten at 7e9, heads skipped.
    winner = {"num_layers": 32, "hidden_size": 3840, "ffn_hidden_size": 12288}
    assert winner in [c["export_config"] for c in plan(qwen3_config, 7e9)["candidates"]]

    # examples/pruning/minitron/NVIDIA-Nemotron-Nano-9B-v2/README.md, 7e9 parameters.
    space = trimmed({
        "num_layers": multiples(56, 2),
        "hidden_size": multiples(4480, 256),
        "mamba_num_heads": grouped(128, 8),
        "mamba_head_dim": multiples(80, 8),
        "ffn_hidden_size": multiples(15680, 512),
    }, ())
    assert space["num_layers"] == [46, 48, 50, 52, 54, 56]
    assert space["hidden_size"] == [2816, 3072, 3328, 3584, 3840, 4096, 4352, 4480]
    assert space["mamba_num_heads"] == [80, 88, 96, 104, 112, 120, 128]
    assert space["mamba_head_dim"] == [56, 64, 72, 80]
    assert space["ffn_hidden_size"] == [*range(9728, 15361, 512), 15680]
    assert len(points(space)) == 17472
    ranking = [n for n in range(1, 57) if n not in NANO_9B_LAST] + NANO_9B_LAST
    assert parameters(NANO_9B) == 8_888_227_328
    fitting = search(NANO_9B, space, 7e9, ranking)
    assert [tuple(c["export_config"].values()) for c in fitting[:10]] == NANO_9B_TOP
    assert {billions(c["params"]) for c in fitting[:10]} == {"7.00B"}

    # examples/megatron_bridge/tutorials/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16/README.md, 30% width and 15% depth.
    space = trimmed({
        "num_layers": multiples(52, 2),
        "hidden_size": multiples(2688, 256),
        "mamba_num_heads": grouped(64, 8),
        "mamba_head_dim": multiples(64, 8),
        "num_moe_experts": multiples(128, 8),
        "moe_ffn_hidden_size": multiples(1856, 256),
        "moe_shared_expert_intermediate_size": multiples(3712, 256),
    }, (), 0.30, 0.15)
    assert list(space.values()) == [
        [46, 48, 50, 52], [2048, 2304, 2560, 2688], [48, 56, 64], [48, 56, 64], [96, 104, 112, 120, 128],
        [1536, 1792, 1856], [2816, 3072, 3328, 3584, 3712],
    ]
    assert len(points(space)) == 10800


def compact(result):
    """One line per entry, one per candidate."""
    lines = [f'  "{k}": {json.dumps(v)}' for k, v in result.items() if k != "candidates"]
    candidates = ",\n".join("    " + json.dumps(c) for c in result["candidates"])
    return "{\n" + ",\n".join(lines) + ',\n  "candidates": [\n' + candidates + "\n  ]\n}"


def main(arguments):
    config_path, output, limit = arguments or (PLAN / "qwen3-8b.config.json", PLAN / "qwen3-8b.json", 6e9)
    check_published(json.loads((PLAN / "qwen3-8b.config.json").read_text()))
    result = plan(json.loads(pathlib.Path(config_path).read_text()), float(limit))
    pathlib.Path(output).write_text(compact(result) + "\n")
    print(f"{result['size']} points, {result['fitting']} fit, model {result['model']}")
    for candidate in result["candidates"]:
        print(json.dumps(candidate))


if __name__ == "__main__":
    main(sys.argv[1:])
