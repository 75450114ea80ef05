"""The routed experts' part of refit.py and local_refit.py: maps are `[out, in]`, with a bias as one more input."""

import torch

NAMES = "gate_up_proj", "down_proj"


def reaching(model, experts, tokens):
    """What reaches the experts of a layer: `[tokens, hidden]`, which of them each token goes to, and with what weight."""
    seen = []
    handle = experts.register_forward_pre_hook(lambda _, arguments: seen.append([a.detach() for a in arguments]))
    with torch.no_grad():
        model(tokens, use_cache=False)
    handle.remove()
    x, chosen, shares = seen[0]
    return x.reshape(-1, x.shape[-1]), chosen, shares


def biased(experts):
    """gpt-oss: maps are stored `[in, out]`, gate and up taking turns, with biases."""
    return hasattr(experts, "down_proj_bias")


def whole_map(experts, number, name):
    matrix = getattr(experts, name)[number].detach()
    if not biased(experts):
        return matrix.clone()
    return torch.cat([matrix.T, getattr(experts, name + "_bias")[number].detach()[:, None]], 1)


def put(experts, number, name, rows, found):
    with torch.no_grad():
        if not biased(experts):
            getattr(experts, name)[number][rows] = found
            return
        getattr(experts, name)[number].T[rows] = found[:, :-1]
        getattr(experts, name + "_bias")[number][rows] = found[:, -1]


def first_parts(experts, width, channels=None):
    """Rows of the first maps that are solved together, of all channels or of some."""
    channels = torch.arange(width) if channels is None else torch.tensor(channels)
    if biased(experts):
        return [torch.stack([2 * channels, 2 * channels + 1], 1).flatten()]
    return [channels, width + channels]


def inner(experts, number, x):
    both = x @ whole_map(experts, number, NAMES[0])[:, :x.shape[-1]].T
    if biased(experts):
        return experts._apply_gate(both + experts.gate_up_proj_bias[number].detach())
    gate, up = both.chunk(2, -1)
    return experts.act_fn(gate) * up


def with_constant(experts, x, constant):
    return torch.cat([x, constant], 1) if biased(experts) else x


def places(big, small):
    """Which columns of one matrix are those of another."""
    return [next(j for j in range(big.shape[1]) if torch.equal(big[:, j], small[:, i])) for i in range(small.shape[1])]


def kept_experts(whole, own, hidden):
    """Of each expert that is kept its number in the original, and its channels that are kept."""
    kept = []
    for place in range(len(own.down_proj)):
        small = whole_map(own, place, NAMES[1])
        for number in range(len(whole.down_proj)):
            try:
                big = whole_map(whole, number, NAMES[1])[hidden]
                kept.append((number, [at for at in places(big, small) if at < inputs(whole)]))
                break
            except StopIteration:
                continue
    return kept


def inputs(experts):
    """Channels of an expert."""
    return experts.down_proj.shape[1 if biased(experts) else 2]


def refit(original, pruned, whole, own, hidden, tokens, choose):
    """Refits `own`, the experts of one layer of `pruned`, in place, each from the tokens that `pruned` sends there."""
    rows = tokens.shape[1]
    x_whole, _, _ = reaching(original, whole, tokens)
    sliced = {name: [whole_map(own, place, name) for place in range(len(own.down_proj))] for name in NAMES}
    kept = kept_experts(whole, own, hidden)
    ones = lambda x: torch.ones_like(x[:, :1])

    def solved(x, target, start, token):
        return choose(*moments(x, target, token, rows), start) if enough(x, token, rows) else None

    for name in NAMES:
        x, chosen, shares = reaching(pruned, own, tokens)
        for place, (number, channels) in enumerate(kept):
            token, slot = torch.where(chosen == place)
            big = whole_map(whole, number, name)
            if name == "gate_up_proj":
                read, aim = (with_constant(own, part[token], ones(part[token])) for part in (x, x_whole))
                for part, there in zip(first_parts(own, len(channels)), first_parts(whole, inputs(whole), channels)):
                    found = solved(read, aim @ big[there].T, sliced[name][place][part], token)
                    if found is not None:
                        put(own, place, name, part, found)
                continue
            share = shares[token, slot][:, None]
            read = with_constant(own, inner(own, place, x[token]) * share, share)
            aim = with_constant(own, share * inner(whole, number, x_whole[token]), share)
            found = solved(read, aim @ big[hidden].T, sliced[name][place], token)
            if found is not None:
                put(own, place, name, slice(None), found)


def refit_locally(original, whole, own, hidden, tokens, choose, length):
    """Refits `own`, the experts of one layer, from what the original's experts read: first maps from all tokens, last maps each from
    those of its own expert."""
    rows = tokens.shape[1]
    x, chosen, shares = reaching(original, whole, tokens)
    every = torch.arange(len(x))
    for place, (number, channels) in enumerate(kept_experts(whole, own, hidden)):
        sliced = {name: whole_map(own, place, name) for name in NAMES}
        big = whole_map(whole, number, NAMES[0])
        if len(hidden) < x.shape[1]:
            aim, read = (
                with_constant(own, part, torch.ones_like(x[:, :1])) for part in (x, x[:, hidden] * length))
            for part, there in zip(first_parts(own, len(channels)), first_parts(whole, inputs(whole), channels)):
                found = choose(*moments(read, aim @ big[there].T, every, rows), sliced[NAMES[0]][part])
                if found is not None:
                    put(own, place, NAMES[0], part, found)
        if len(channels) < inputs(whole):
            token, slot = torch.where(chosen == number)
            share = shares[token, slot][:, None]
            given = inner(whole, number, x[token]) * share
            read = with_constant(own, given[:, channels], share)
            aim = with_constant(own, given, share) @ whole_map(whole, number, NAMES[1])[hidden].T
            found = choose(*moments(read, aim, token, rows), sliced[NAMES[1]]) if enough(read, token, rows) else None
            if found is not None:
                put(own, place, NAMES[1], slice(None), found)


def held(token, rows):
    return (token // rows + 1) % 8 == 0


def enough(x, token, rows):
    return (~held(token, rows)).sum() >= x.shape[1] and held(token, rows).any()


def moments(x, target, token, rows):
    parts = []
    for part in (~held(token, rows), held(token, rows)):
        parts += [x[part].T @ x[part], target[part].T @ x[part]]
    return parts
