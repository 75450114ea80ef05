"""The weights of `coppice prune --refit local`, made again from the definition in PyTorch and float64.

    .deps/venv/bin/python Tests/Oracle/local_refit.py --binary .build/release/coppice [MODEL]...

The models of refit.py, pruned by hand twice: sliced and refitted. Every linear map whose inputs are cut is solved here from the
original's inputs alone, as Docs/recover.md says, and compared with the refitted model, tensor by tensor. One line a model; the last
line counts.
"""

import re

import torch

import cases
import refit
import refit_experts


def columns(big, small, rows):
    """Which inputs of a map are kept: found by comparing."""
    part = big[rows]
    return [next(j for j in range(part.shape[1]) if torch.equal(part[:, j], small[:, i])) for i in range(small.shape[1])]


def lengthened(stream, hidden):
    """What a norm over some channels multiplies them by, beyond what one over all does."""
    squares = stream ** 2 / (stream ** 2).mean(-1, keepdim=True)
    energy = squares.reshape(-1, squares.shape[-1]).mean(0)
    return (energy.mean() / energy[hidden].mean()).sqrt()


def refit_locally(original, pruned, layers, tokens):
    """Refits `pruned` in place."""
    hidden = refit.channels(original, pruned)
    bodies = [model.base_model for model in (original, pruned)]
    width = bodies[0].get_input_embeddings().weight.shape[1]
    for position, number in enumerate(layers):
        layer, own = bodies[0].layers[number], bodies[1].layers[position]
        seen = refit.Seen(original, layer, tokens)
        branches = max(seen.streams)
        for name, small in own.named_modules():
            if name not in seen.inputs or not isinstance(small, torch.nn.Linear):
                continue
            big = layer.get_submodule(name)
            if small.in_features == big.in_features:
                continue
            # Widths may be the same by chance.
            reads = not re.search(r"(o_proj|down_proj|out_proj|x_proj)$", name)
            weights = big.weight.detach(), small.weight.detach()
            if reads:
                kept, rows = hidden, refit.kept_rows(*weights, hidden)
            else:
                rows = list(range(len(weights[1]))) if name.endswith("x_proj") else hidden
                kept = columns(*weights, rows)
            x = seen.inputs[name][..., kept]
            if name == "per_layer_input_gate":
                # It reads the stream as it is, which begins with embeddings × the root of the hidden size.
                x = x * (len(hidden) / width) ** 0.5
            elif reads:
                x = x * lengthened(seen.streams[1 if branches > 1 and name.startswith(("mlp", "feed_forward")) else 0], hidden)
            target = big(seen.inputs[name])[..., rows].detach()
            start = weights[1].clone()
            if small.bias is not None:
                x = torch.cat([x, torch.ones_like(x[..., :1])], -1)
                start = torch.cat([start, small.bias.detach()[:, None]], 1)
            found = refit.solve(x.detach(), target, start)
            if found is None:
                continue
            with torch.no_grad():
                small.weight.copy_(found[:, :len(kept)])
                if small.bias is not None:
                    small.bias.copy_(found[:, -1])
        if hasattr(refit.second(own), "experts"):
            refit_experts.refit_locally(
                original, refit.second(layer).experts, refit.second(own).experts, hidden, tokens, refit.choose,
                lengthened(seen.streams[branches - 1], hidden))
    if len(hidden) == width:
        return
    norms = [refit.final_norm(body) for body in bodies]
    states = []
    handle = norms[0].register_forward_pre_hook(lambda _, arguments: states.append(arguments[0].detach()))
    with torch.no_grad():
        original(tokens, use_cache=False)
        handle.remove()
        y, x = norms[0](states[0]), norms[1](states[0][..., hidden])
    heads = [model.get_output_embeddings().weight.detach() for model in (original, pruned)]
    if not pruned.config.tie_word_embeddings:
        found, parameter = refit.solve(x, y @ heads[0].T, heads[1]), pruned.get_output_embeddings().weight
    else:
        found, parameter = refit.factors(x, y, *heads), norms[1].weight
    if found is not None:
        with torch.no_grad():
            parameter.copy_(found if parameter.ndim == 2 else parameter * found)


def check(name, binary, work):
    # Where only layers are dropped no map's inputs are cut.
    return refit.words(*refit.compare(name, binary, work, "local", refit_locally), may_move_none=name == "qwen3-layers")


if __name__ == "__main__":
    cases.run(__doc__, refit.MODELS, check)
