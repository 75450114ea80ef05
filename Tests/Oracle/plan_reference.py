"""The search that Model-Optimizer's prune_minitron.py runs, recomputed in plain Python from a config.json.

    python plan_reference.py

Makes the .json files of Tests/Goldens/plan (what `coppice plan --json` prints) from the configs and layer rankings
beside them, num_attention_heads skipped:
- Qwen3-8B to 6e9 parameters, memory at 4096 tokens and batch 1;
- Nemotron Nano 9B v2 to 7e9 parameters, likewise;
- Nemotron 3 Nano 30B-A3B to 3e9 active parameters and 24e9 in all, cutting at most 30% of widths and 15% of layers,
  memory at 8192 tokens and batch 8.

Read for behaviour in NVIDIA's Model-Optimizer: modelopt/torch/prune/plugins/mcore_minitron.py (search),
modelopt/torch/nas/plugins/megatron.py (choices), megatron_model_stats.py (counts), modelopt/torch/utils/network.py
(divisibility). Before anything is written it must reproduce the search spaces, sizes, counts and candidates that
Model-Optimizer publishes in its examples; see `check_published`.
"""

import itertools
import json
import pathlib

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


# Counts. A model is {"config fields", "layers": one letter each}: A attention with MLP, * attention, - MLP, M Mamba-2,
# E mixture of experts


def parameters(m, active=False):
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
    experts = 0
    if "E" in m["layers"]:
        used = m["experts_per_token"] if active else m["num_moe_experts"]
        experts = hidden + m["num_moe_experts"] * (hidden + 1)  # norm; router and the bias of its choice
        experts += 2 * hidden * (used * m["moe_ffn_hidden_size"] + m["moe_shared_expert_intermediate_size"])
    size = {"A": attention + mlp, "*": attention, "-": mlp, "M": mamba, "E": experts}
    embeddings = m["vocab"] * hidden * (1 if m["tied"] else 2)
    return embeddings + hidden + sum(size[letter] for letter in m["layers"])


def kept_elements(m, tokens, batch):
    """Elements of keys and values, and of Mamba states."""
    keys_and_values = states = 0
    for letter in m["layers"]:
        if letter in "A*":
            keys_and_values += 2 * batch * tokens * m["groups"] * m["head_dim"]
        elif letter == "M":
            inner = m["mamba_num_heads"] * m["mamba_head_dim"]
            convolved = inner + 2 * m["mamba_groups"] * m["mamba_state"]
            states += batch * (convolved * (m["convolution"] - 1) + inner * m["mamba_state"])
    return keys_and_values, states


def memory_mb(m, tokens, batch):
    """Weights and caches in MiB, two bytes each."""
    return (parameters(m) + sum(kept_elements(m, tokens, batch))) * 2 / 2**20


def reshaped(m, point, ranking):
    """The model at a point; which layers it keeps follows the ranking (1-based, best first)."""
    kept = sorted(ranking[: point.get("num_layers", len(m["layers"]))])
    return m | {k: v for k, v in point.items() if k != "num_layers"} | {
        "heads": point.get("num_attention_heads", m["heads"]),
        "layers": "".join(m["layers"][n - 1] for n in kept),
    }


def described(m, tokens, batch):
    return {"params": parameters(m), "active_params": parameters(m, active=True), "memory_mb": memory_mb(m, tokens, batch)}


def search(m, space, limits, ranking, tokens=4096, batch=1):
    """Every point not above a limit ({metric: limit}), the largest by active_params or else params first, equals in
    the order of the space."""
    fitting = []
    for point in points(space):
        metrics = described(reshaped(m, point, ranking), tokens, batch)
        if all(metrics[name] <= limit for name, limit in limits.items()):
            fitting.append({"export_config": point} | metrics)
    primary = "active_params" if "active_params" in limits else "params"
    return sorted(fitting, key=lambda c: -c[primary])


# Models from their config.json


def model_of(config):
    hybrid = config["model_type"] == "nemotron_h"
    m = {
        "vocab": config["vocab_size"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "heads": config["num_attention_heads"],
        "groups": config["num_key_value_heads"],
        "head_dim": config["head_dim"],
        "layers": config["hybrid_override_pattern"] if hybrid else "A" * config["num_hidden_layers"],
        "gated": not hybrid,
        "qk_norm": not hybrid,
        "qkv_bias": config["attention_bias"],
        "o_bias": config["attention_bias"],
        "tied": config["tie_word_embeddings"],
    }
    if hybrid:
        m |= {"mamba_num_heads": config["mamba_num_heads"], "mamba_head_dim": config["mamba_head_dim"],
              "mamba_groups": config["n_groups"], "mamba_state": config["ssm_state_size"],
              "convolution": config["conv_kernel"]}
    if "E" in m["layers"]:
        m |= {"num_moe_experts": config["n_routed_experts"], "experts_per_token": config["num_experts_per_tok"],
              "moe_ffn_hidden_size": config["moe_intermediate_size"],
              "moe_shared_expert_intermediate_size": config["moe_shared_expert_intermediate_size"]}
    return m


def choices_of(m):
    """Choices before trimming, in the order in which a walk through the model meets them."""
    ffn = 256 if "E" in m["layers"] else DIVISORS["ffn_hidden_size"]
    found = {
        "num_layers": multiples(len(m["layers"]), DIVISORS["num_layers"]),
        "hidden_size": multiples(m["hidden_size"], DIVISORS["hidden_size"]),
    }
    for letter in dict.fromkeys(m["layers"]):
        if letter == "M":
            found["mamba_num_heads"] = grouped(m["mamba_num_heads"], m["mamba_groups"])
            found["mamba_head_dim"] = multiples(m["mamba_head_dim"], DIVISORS["mamba_head_dim"])
        if letter in "A*":
            found["num_attention_heads"] = grouped(m["heads"], m["groups"])
        if letter in "A-":
            found["ffn_hidden_size"] = multiples(m["ffn_hidden_size"], ffn)
        if letter == "E":
            found["num_moe_experts"] = multiples(m["num_moe_experts"], DIVISORS["num_moe_experts"])
            for name in ("moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"):
                found[name] = multiples(m[name], ffn)
    return found


def plan(config, limits, ranking=None, widest=0.40, deepest=0.20, tokens=4096, batch=1, top_k=10):
    m = model_of(config)
    space = trimmed(choices_of(m), ("num_attention_heads",), widest, deepest)
    # Where layers are alike, which of them stay changes no count.
    fitting = search(m, space, limits, ranking or list(range(1, len(m["layers"]) + 1)), tokens, batch)
    return {
        "model": described(m, tokens, batch),
        "search_space": space,
        "size": len(points(space)),
        "fitting": len(fitting),
        "candidates": fitting[:top_k],
    }


# What Model-Optimizer publishes


NANO_9B_TOP = [  # num_layers, hidden_size, mamba_num_heads, mamba_head_dim, ffn_hidden_size
    (50, 4480, 128, 56, 15680), (56, 4096, 96, 80, 14336), (48, 4352, 120, 80, 13824), (56, 4352, 112, 80, 10240),
    (54, 4480, 104, 80, 11264), (46, 4480, 128, 72, 14848), (50, 4480, 112, 64, 15680), (54, 4096, 112, 80, 13312),
    (56, 4352, 120, 72, 10752), (52, 4352, 120, 72, 12800),
]
# num_layers, hidden_size, mamba_num_heads, mamba_head_dim, num_moe_experts, moe_ffn_hidden_size, shared; parameters
NANO_30B_TOP = [
    (52, 2688, 56, 48, 96, 1536, 3072, "20.09B"), (52, 2688, 48, 56, 104, 1536, 3072, "21.61B"),
    (52, 2560, 48, 64, 96, 1536, 3712, "19.28B"), (52, 2304, 64, 64, 104, 1856, 3072, "22.28B"),
    (52, 2560, 48, 48, 96, 1792, 3328, "21.99B"), (48, 2560, 56, 56, 104, 1792, 3072, "23.68B"),
    (46, 2560, 64, 56, 104, 1792, 3072, "23.68B"), (52, 2688, 48, 56, 96, 1536, 3072, "20.09B"),
    (52, 2304, 64, 64, 96, 1856, 3072, "20.70B"), (50, 2560, 48, 48, 104, 1792, 3712, "23.68B"),
]


def billions(count):
    return f"{count / 1e9:.2f}B"


def check_qwen3_8b(config, result):
    """examples/pruning/minitron_vs_puzzletron/README.md, and scenario1_minitron.ipynb beside it."""
    m, ranking = model_of(config), list(range(1, 37))
    assert billions(parameters(reshaped(m, {"num_layers": 32, "hidden_size": 3840}, ranking))) == "6.96B"
    assert billions(parameters(reshaped(m, {"num_layers": 22}, ranking))) == "5.49B"
    # The winner among ten at 7e9.
    winner = {"num_layers": 32, "hidden_size": 3840, "ffn_hidden_size": 12288}
    assert winner in [c["export_config"] for c in plan(config, {"params": 7e9})["candidates"]]


def check_nano_9b(config, result):
    """examples/pruning/minitron/NVIDIA-Nemotron-Nano-9B-v2/README.md."""
    space = result["search_space"]
    assert space["num_layers"] == [46, 48, 50, 52, 54, 56]
    assert space["hidden_size"] == [2816, 3072, 3328, 3584, 3840, 4096, 4352, 4480]
    assert space["mamba_num_heads"] == [80, 88, 96, 104, 112, 120, 128]
    assert space["mamba_head_dim"] == [56, 64, 72, 80]
    assert space["ffn_hidden_size"] == [*range(9728, 15361, 512), 15680]
    assert result["size"] == 17472
    assert result["model"]["params"] == 8_888_227_328
    assert [tuple(c["export_config"].values()) for c in result["candidates"]] == NANO_9B_TOP
    assert {billions(c["params"]) for c in result["candidates"]} == {"7.00B"}


def check_nano_30b(config, result):
    """examples/megatron_bridge/tutorials/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16/README.md."""
    assert list(result["search_space"].values()) == [
        [46, 48, 50, 52], [2048, 2304, 2560, 2688], [48, 56, 64], [48, 56, 64], [96, 104, 112, 120, 128],
        [1536, 1792, 1856], [2816, 3072, 3328, 3584, 3712],
    ]
    assert result["size"] == 10800
    assert (billions(result["model"]["params"]), billions(result["model"]["active_params"])) == ("31.58B", "3.58B")
    keys_and_values, states = kept_elements(model_of(config), 8192, 8)
    parts = [result["model"]["params"], keys_and_values, states]
    assert [f"{part * 2 / 2**20:.1f}" for part in parts] == ["60230.1", "384.0", "190.5"], parts
    found = [(*c["export_config"].values(), billions(c["params"])) for c in result["candidates"]]
    assert found == NANO_30B_TOP, found
    assert {billions(c["active_params"]) for c in result["candidates"]} == {"3.00B"}


PLANS = {
    "qwen3-8b": ({"limits": {"params": 6e9}}, check_qwen3_8b),
    "nemotron-nano-9b-v2": ({"limits": {"params": 7e9}}, check_nano_9b),
    "nemotron-3-nano-30b-a3b": (
        {"limits": {"active_params": 3e9, "params": 24e9}, "widest": 0.30, "deepest": 0.15, "tokens": 8192, "batch": 8},
        check_nano_30b,
    ),
}


def compact(result):
    """One line per entry, one per candidate."""
    lines = [f'  "{k}": {json.dumps(v)}' for k, v in result.items() if k != "candidates"]
    candidates = ",\n".join("    " + json.dumps(c) for c in result["candidates"])
    return "{\n" + ",\n".join(lines) + ',\n  "candidates": [\n' + candidates + "\n  ]\n}"


def main():
    for name, (settings, check) in PLANS.items():
        config = json.loads((PLAN / f"{name}.config.json").read_text())
        ranking = PLAN / f"{name}.ranking.json"
        result = plan(config, **settings, ranking=json.loads(ranking.read_text()) if ranking.exists() else None)
        check(config, result)
        (PLAN / f"{name}.json").write_text(compact(result) + "\n")
        print(f"{name}: {result['size']} points, {result['fitting']} fit, model {result['model']}")


if __name__ == "__main__":
    main()
