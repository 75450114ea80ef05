"""Makes Tests/Goldens/dense2: further dense families, in the layout of dense/ (README.md).

    python make_dense2.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0. Weights are drawn for whatever
parameters the published module has; statistics and masks are hooks on its modules, told apart by `Anatomy`.
"""

import contextlib
import pathlib
import re
import sys
import tempfile
import types

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

import reference_minitron as reference
from dense2_cases import CASES as SECOND
from dense3_cases import CASES as THIRD
from make_dense import SMALLEST_GAP, TOLERANCES, Draw, compact, difference, load, make_all, write
from reference_minitron import choose, head_dim_of, logits_of

HERE = pathlib.Path(__file__).resolve().parent


CASES = SECOND | THIRD
HEADS_STAY = ("qwen3_5_text", "qwen3_next")  # families whose heads cannot be pruned
# Without effect when zeroed: keys' biases move no score relative to another but through positions, and a tiny constant.
IDLE = ("k_proj.bias", "act_fn.eps")
LAYER = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)\.")


def layer_of(name):
    found = LAYER.search(name)
    return int(found[1]) if found else None


def ffn_of(config):
    return getattr(config, "intermediate_size", None) or config.n_inner


def adds_one(norm):
    """Whether the norm multiplies by 1 + weight."""
    name = type(norm).__name__
    return name.startswith("Gemma") or name.endswith("1P") or name in ("Qwen3_5RMSNorm", "Qwen3_5MoeRMSNorm", "Qwen3NextRMSNorm")


class Anatomy:
    """Which of a published model's modules is what."""

    def __init__(self, model):
        base = model.base_model
        self.embedding = model.get_input_embeddings()
        self.layers = self.layers_of(model)
        names = ("norm", "final_layer_norm", "final_layernorm", "ln_f")
        self.final_norm = next(getattr(base, name) for name in names if hasattr(base, name))

    @staticmethod
    def layers_of(model):
        return getattr(model.base_model, "layers", None) or model.base_model.h

    @staticmethod
    def attention(layer):
        for name in ("self_attn", "linear_attn", "attention", "attn"):
            if hasattr(layer, name):
                return getattr(layer, name)

    @classmethod
    def output(cls, layer):
        attention = cls.attention(layer)
        for name in ("o_proj", "out_proj", "dense", "c_proj"):
            if hasattr(attention, name):
                return getattr(attention, name)

    @staticmethod
    def down(layer):
        for name in ("down_proj", "c_proj", "dense_4h_to_h", "fc2"):
            if hasattr(layer.mlp, name):
                return getattr(layer.mlp, name)

    @classmethod
    def blocks_read(cls, layer):
        """Per block the norm it reads, or the block itself where it reads the residual stream."""
        pairs = [("input_layernorm", "pre_feedforward_layernorm"), ("input_layernorm", "post_attention_layernorm"),
                 ("attention_layernorm", "feedforward_layernorm"), ("ln_1", "ln_2")]
        for names in pairs:
            if all(getattr(layer, name, None) is not None for name in names):
                return [getattr(layer, name) for name in names]
        if hasattr(layer, "input_layernorm"):  # one for both
            return [layer.input_layernorm] * 2
        return [cls.attention(layer), layer.mlp]

    @staticmethod
    def norms(layer):
        """Every norm over residual channels."""
        return [module for name, module in layer.named_children() if name.endswith("layernorm") or name.startswith("ln_")]


class Statistics(reference.Statistics):
    def __init__(self, model):
        layers = len(Anatomy.layers_of(model))
        self.config = model.config
        self.hidden = [[None, None] for _ in range(layers)]
        self.ffn, self.heads = [None] * layers, [None] * layers
        self.cosines = [[] for _ in range(layers)]
        self.valid = 0

    def _hooks(self, model):
        anatomy = Anatomy(model)
        for i, layer in enumerate(anatomy.layers):
            for tap, module in enumerate(anatomy.blocks_read(layer)):
                is_norm = module in anatomy.norms(layer)

                def seen(_m, args, kwargs, out, i=i, tap=tap, is_norm=is_norm):
                    x = out if is_norm else (args[0] if args else kwargs["hidden_states"])
                    self._add(self.hidden[i], tap, x)

                yield module.register_forward_hook(seen, with_kwargs=True)
            seen_inside = [(anatomy.down(layer), self.ffn)]
            if self.config.model_type not in HEADS_STAY:
                seen_inside.append((anatomy.output(layer), self.heads))
            for module, store in seen_inside:
                yield module.register_forward_pre_hook(
                    lambda _m, args, i=i, store=store: self._add(store, i, args[0])
                )

            def over_layer(_m, args, kwargs, out, i=i):
                before = args[0] if args else kwargs["hidden_states"]
                after = out[0] if isinstance(out, tuple) else out
                before, after = before[0, : self.valid].float(), after[0, : self.valid].float()
                self.cosines[i].append(torch.nn.functional.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer, with_kwargs=True)

    def importances(self):
        if self.config.model_type not in HEADS_STAY:
            return super().importances()
        taps = [tap.sqrt() for layer in self.hidden for tap in layer]
        return {
            "hidden_size": torch.stack(taps).sum(dim=0).float(),
            "ffn_hidden_size": torch.stack(self.ffn).sqrt().float(),
        }

    @torch.no_grad()
    def run(self, model, tokens, lengths):
        mask = reference.attention_mask_of(lengths, tokens.shape[1])
        handles = list(self._hooks(model))
        for b in range(tokens.shape[0]):
            self.valid = int(lengths[b])
            model.base_model(input_ids=tokens[b : b + 1], attention_mask=mask[b : b + 1], use_cache=False)
        for handle in handles:
            handle.remove()
        return self


def norm_over(norm, flags):
    """The norm's function with statistics over the flagged channels, zero elsewhere."""
    count = flags.sum()
    weight, bias = getattr(norm, "weight", torch.tensor(1.0)), getattr(norm, "bias", None)
    if adds_one(norm):
        weight = weight + 1
    epsilon = getattr(norm, "variance_epsilon", None) or norm.eps

    def forward(x):
        y = x * flags
        if "LayerNorm" in type(norm).__name__:
            y = (y - y.sum(-1, keepdim=True) / count) * flags
        y = y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / count + epsilon) * weight
        return (y if bias is None else y + bias) * flags

    return forward


@contextlib.contextmanager
def masked(model, kept):
    config, anatomy = model.config, Anatomy(model)
    dim = head_dim_of(config)
    hidden = reference._flags(kept["hidden_size"], config.hidden_size)
    handles, replaced = [], []

    def replace(module, forward):
        replaced.append(module)
        module.forward = forward

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    def output_mask(module):
        handles.append(module.register_forward_hook(lambda _m, _a, out: out * hidden))

    narrow = len(kept["hidden_size"]) < config.hidden_size
    if narrow:
        output_mask(anatomy.embedding)
        replace(anatomy.final_norm, norm_over(anatomy.final_norm, hidden))
    for i, layer in enumerate(anatomy.layers):
        if i + 1 not in kept["num_layers"]:
            replace(layer, lambda hidden_states, *_args, **_kwargs: hidden_states)
            continue
        input_mask(anatomy.down(layer), reference._flags(kept["ffn_hidden_size"][i], ffn_of(config)))
        heads = reference._flags(kept["num_attention_heads"][i], config.num_attention_heads).repeat_interleave(dim)
        if config.model_type not in HEADS_STAY:
            input_mask(anatomy.output(layer), heads)
        query_norm = getattr(anatomy.attention(layer), "q_norm", None)
        if getattr(query_norm, "weight", None) is not None and query_norm.weight.numel() == heads.numel():
            replace(query_norm, norm_over(query_norm, heads))
        if narrow:
            output_mask(anatomy.down(layer))
            output_mask(anatomy.output(layer))
            for norm in anatomy.norms(layer):
                replace(norm, norm_over(norm, hidden))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward


def checkpoint(config, draw):
    """Weights for every parameter of the published module, tied ones once."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), config, {})
        settings = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(settings)
    tied = settings.tie_word_embeddings
    centred_names = {name for name, module in model.named_modules() if adds_one(module)}
    behind = next((names for names in (("post_feedforward", "post_attention"), ("post_mlp", "post_self_attn"))
                   if hasattr(Anatomy.layers_of(model)[0], names[0] + "_layernorm")), ())
    turned = {name for name, module in model.named_modules() if type(module).__name__ == "Conv1D"}
    state = {}
    for name, parameter in model.state_dict().items():
        shape = tuple(parameter.shape)
        layer = layer_of(name) or 0
        gain = 0.2 + 0.12 * ((layer * 7 + 3) % 5)  # layers of clearly different weight in the residual stream
        centred = name.removesuffix(".weight") in centred_names
        if name == "lm_head.weight":
            if not tied:
                state[name] = draw.matrix(*shape, 1.5, 0.1)
        elif "embed" in name or ".wte." in name or ".wpe." in name:
            # Gemma multiplies embeddings by the root of hidden_size.
            state[name] = draw.normal(*shape, std=(0.5 if tied else 1.0) * (
                shape[1] ** -0.5 * 2 if settings.model_type.startswith("gemma") else 1))
        elif name.endswith(("A_log", "dt_bias")):
            state[name] = draw.uniform(*shape, low=-2.0, high=1.0)
        elif not shape:
            state[name] = parameter.bfloat16()
        elif len(shape) == 3:
            state[name] = draw.matrix(shape[0], shape[2], 2.0).unsqueeze(1)
        elif name.endswith(".bias"):
            state[name] = draw.normal(*shape, std=0.2)
        elif len(shape) == 1:
            low, high = (0.4, 1.6)
            if any(part in name for part in behind):
                low, high = gain * 0.5, gain * 1.5
            state[name] = draw.uniform(*shape, low=low - centred, high=high - centred)
        else:
            writes = name.rsplit(".", 2)[-2] in (
                "o_proj", "out_proj", "down_proj", "c_proj", "dense", "dense_4h_to_h", "fc2")
            is_turned = name.removesuffix(".weight") in turned
            matrix = draw.matrix(*(shape[::-1] if is_turned else shape), gain if writes and not behind else 1.0)
            state[name] = matrix.T.contiguous() if is_turned else matrix
    return state


def indices_of(kept, config, layer):
    """Per kind of axis the rows that stay."""
    dim = head_dim_of(config)
    heads, groups = config.num_attention_heads, getattr(config, "num_key_value_heads", config.num_attention_heads)
    ffn = kept["ffn_hidden_size"][layer]
    rows = [h * dim + d for h in kept["num_attention_heads"][layer] for d in range(dim)]
    return {
        "H": kept["hidden_size"],
        "F": ffn,
        "FF": ffn + [ffn_of(config) + f for f in ffn],
        "Q": rows,
        "QKV": rows + list(range(heads * dim, (heads + 2 * groups) * dim)),
        "": None,
    } | ({"Q": None} if config.model_type in HEADS_STAY else {})


AXES = {  # of a module's output and input; whatever is not named is a norm over the residual stream
    "embed_tokens": ("", "H"), "lm_head": ("", "H"), "embed_out": ("", "H"), "embed_in": ("", "H"),
    "q_proj": ("Q", "H"), "k_proj": ("", "H"), "v_proj": ("", "H"), "o_proj": ("H", "Q"), "qkv_proj": ("QKV", "H"),
    "gate_proj": ("F", "H"), "up_proj": ("F", "H"), "down_proj": ("H", "F"), "gate_up_proj": ("FF", "H"),
    "in_proj_qkv": ("", "H"), "in_proj_z": ("", "H"), "in_proj_b": ("", "H"), "in_proj_a": ("", "H"),
    "in_proj_qkvz": ("", "H"), "in_proj_ba": ("", "H"), "out_proj": ("H", ""),
    "c_fc": ("F", "H"), "c_proj": ("H", "F"),
    "query_key_value": ("", "H"), "dense": ("H", "Q"), "dense_h_to_4h": ("F", "H"), "dense_4h_to_h": ("H", "F"),
    "fc1": ("F", "H"), "fc2": ("H", "F"), "act_fn": ("",),
}
# GPT-2's weights lie the other way round, and nothing but ffn channels is cut.
TURNED = {"mlp.c_fc.weight": ("", "F"), "mlp.c_fc.bias": ("F",), "mlp.c_proj.weight": ("F", "")}


def sliced(state, config, kept):
    out = {}
    for name, tensor in state.items():
        layer = layer_of(name)
        if layer is not None and layer + 1 not in kept["num_layers"]:
            continue
        module = name.rsplit(".", 2)[-2]
        axes = AXES.get(module, ("", "", "") if ".linear_attn." in name else ("H",))
        if config.model_type == "gpt2":
            axes = TURNED.get(".".join(name.split(".")[-3:]), ("", ""))
        if ".norms." in name or module in ("q_layernorm", "k_layernorm", "query_layernorm", "key_layernorm"):
            axes = ("",)
        if module in ("q_norm", "k_norm"):
            whole = tensor.numel() == config.num_attention_heads * head_dim_of(config) and module == "q_norm"
            axes = ("Q",) if whole else ("",)
        indices = indices_of(kept, config, layer or 0)
        for dim in range(tensor.dim()):
            if indices[axes[dim]] is not None:
                tensor = tensor.index_select(dim, torch.tensor(indices[axes[dim]]))
        if layer is not None:
            renumbered = kept["num_layers"].index(layer + 1)
            name = re.sub(rf"\b(layers|h)\.{layer}\.", rf"\g<1>.{renumbered}.", name, count=1)
        out[name] = tensor.contiguous()
    if config.model_type in ("gemma2", "gemma3_text") and len(kept["hidden_size"]) != config.hidden_size:
        # Another way than the program's to keep the embeddings' size: the embedding itself and the final norm.
        ratio = (config.hidden_size / len(kept["hidden_size"])) ** 0.5
        out = {k: v.float() for k, v in out.items()}
        out["model.embed_tokens.weight"] *= ratio
        if config.tie_word_embeddings:
            out["model.norm.weight"] = (1 + out["model.norm.weight"]) / ratio - 1
    if config.model_type == "gemma" and len(kept["hidden_size"]) != config.hidden_size:
        # The program scales the embedding; here what is added to it is scaled.
        ratio = (config.hidden_size / len(kept["hidden_size"])) ** 0.5
        written = ("o_proj.weight", "o_proj.bias", "down_proj.weight")
        out = {k: v.float() / ratio if k.endswith(written) else v.float() for k, v in out.items()}
    return out


def exported_config(config, kept, settings):
    if settings.model_type == "gpt2":
        return dict(config) | {"n_inner": len(kept["ffn_hidden_size"][0]), "n_layer": len(kept["num_layers"])}
    out = dict(config) | {
        "hidden_size": len(kept["hidden_size"]),
        "intermediate_size": len(kept["ffn_hidden_size"][0]),
        "num_attention_heads": len(kept["num_attention_heads"][0]),
        "head_dim": head_dim_of(settings),
        "num_hidden_layers": len(kept["num_layers"]),
    }
    for key in ("layer_types", "no_rope_layers"):
        if getattr(settings, key, None):
            out[key] = [getattr(settings, key)[n - 1] for n in kept["num_layers"]]
    return out


def attempt(name, case, seed):
    draw = Draw(seed)
    config = case["config"]
    folder = HERE / "dense2" / name
    state = {case["spelling"].get(k, k): v for k, v in checkpoint(config, draw).items()}
    if case.get("stored"):
        state = {k: v.to(case["stored"]) for k, v in state.items()}
    write(folder, config, state)
    model = load(folder)
    settings = model.config
    lengths = case["rows"]
    tokens = draw.tokens(lengths, config["vocab_size"])
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(load(folder, torch.bfloat16), tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    if rounding > 1e-2:
        return None, f"bfloat16 is {rounding:.3g} away from float32"

    statistics = Statistics(model).run(model, tokens, lengths)
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    tensors["importance.num_layers.mb1"] = statistics.layer_scores(1)
    tensors["importance.num_layers.mb2"] = statistics.layer_scores(2)

    shape = types.SimpleNamespace(
        num_hidden_layers=settings.num_hidden_layers, num_attention_heads=settings.num_attention_heads,
        num_key_value_heads=getattr(settings, "num_key_value_heads", settings.num_attention_heads),
        hidden_size=settings.hidden_size, intermediate_size=ffn_of(settings))
    prunings, worst = [], 0.0
    for pruning, sizes in case["prunings"].items():
        ranked = {"num_attention_heads": torch.zeros(shape.num_hidden_layers, shape.num_attention_heads)} | importances
        kept, gap = choose(shape, ranked, tensors["importance.num_layers.mb1"], sizes)
        if gap is not None and gap < SMALLEST_GAP:
            return None, f"{pruning} has a cut decided by {gap:.2g}"
        with masked(model, kept):
            pruned = logits_of(model, tokens, lengths)
        assert torch.equal(logits_of(model, tokens, lengths), logits)
        moved = difference(pruned, logits)
        assert (moved > 2e-2) == bool(sizes), f"{name} {pruning}: moved by {moved}"
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, exported_config(config, kept, settings), sliced(state, settings, kept))
            worst = max(worst, difference(logits_of(load(other), tokens, lengths), pruned))
        assert worst < 1e-5, f"{name} {pruning}: the sliced checkpoint is {worst} away from the masked model"
        tensors[f"pruned.{pruning}.logits"] = pruned
        prunings.append({"name": pruning, "export_config": sizes, "kept": kept, "smallest_gap": gap})

    least = 1.0
    variants = [(k, v, None) for k, v in case["moves"].items()]
    for part in sorted({".".join(k.split(".")[-2:]) for k in state}):
        variants.append((part, {}, part))
    for what, changes, part in variants:
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            changed = {k: (v * 0 if part and k.endswith(part) else v) for k, v in state.items()}
            write(other, {k: v for k, v in (config | changes).items()}, changed)
            by = difference(logits_of(load(other), tokens, lengths), logits)
        if part not in IDLE:
            assert by > 2e-3, f"{name}: {what} moves the logits by {by}"
            least = min(least, by)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    expected = {"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}
    (folder / "expected.json").write_text(compact(expected) + "\n")
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved {least:.1e}"
    return sum(f.stat().st_size for f in folder.iterdir()), note


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=20)
