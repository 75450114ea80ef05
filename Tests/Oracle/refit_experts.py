"""The routed experts' part of refit.py: each expert's maps from the tokens that the pruned model sends there."""

import torch


def reaching(model, experts, tokens):
    """What reaches the experts of a layer: `[tokens, hidden]`, which of them each token goes to, and with what weight."""
    seen = []
    handle = experts.register_forward_pre_hook(lambda _, arguments: seen.append([a.detach() for a in arguments]))
    with torch.no_grad():
        model(tokens, use_cache=False)
    handle.remove()
    x, chosen, shares = seen[0]
    return x.reshape(-1, x.shape[-1]), chosen, shares


def inner(experts, number, x):
    gate, up = (x @ experts.gate_up_proj[number].T).chunk(2, -1)
    return experts.act_fn(gate) * up


def places(big, small):
    """Which columns of one matrix are those of another."""
    return [next(j for j in range(big.shape[1]) if torch.equal(big[:, j], small[:, i])) for i in range(small.shape[1])]


def refit(original, pruned, whole, own, hidden, tokens, choose):
    """Refits `own`, the experts of one layer of `pruned`, in place."""
    rows = tokens.shape[1]
    x_whole, _, _ = reaching(original, whole, tokens)
    sliced = {name: getattr(own, name).detach().clone() for name in ("gate_up_proj", "down_proj")}
    kept = []
    for down in sliced["down_proj"]:
        for number, big in enumerate(whole.down_proj.detach()):
            try:
                kept.append((number, places(big[hidden], down)))
                break
            except StopIteration:
                continue
    solved = lambda x, target, start, chosen: choose(*moments(x, target, chosen, rows), start) if enough(
        x, chosen, rows) else None
    for first in (True, False):
        x, chosen, shares = reaching(pruned, own, tokens)
        for place, (number, channels) in enumerate(kept):
            token, slot = torch.where(chosen == place)
            big = [part[channels] for part in whole.gate_up_proj[number].detach().chunk(2, 0)]
            if first:
                for part, map_ in enumerate(big):
                    size = len(channels)
                    start = sliced["gate_up_proj"][place][part * size:(part + 1) * size]
                    found = solved(x[token], x_whole[token] @ map_.T, start, token)
                    if found is not None:
                        with torch.no_grad():
                            own.gate_up_proj[place][part * size:(part + 1) * size] = found
                continue
            share = shares[token, slot][:, None]
            with torch.no_grad():
                reads = inner(own, place, x[token]) * share
                target = share * (inner(whole, number, x_whole[token]) @ whole.down_proj[number][hidden].T)
                found = solved(reads, target, sliced["down_proj"][place], token)
                if found is not None:
                    own.down_proj[place] = found


def held(token, rows):
    return (token // rows + 1) % 8 == 0


def enough(x, token, rows):
    return (~held(token, rows)).sum() >= x.shape[1] and held(token, rows).any()


def moments(x, target, token, rows):
    parts = []
    for part in (~held(token, rows), held(token, rows)):
        parts += [x[part].T @ x[part], target[part].T @ x[part]]
    return parts
