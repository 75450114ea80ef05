"""What mutation_cases.py compares of Nemotron-NAS, against the reference that own_types.py makes known: its base, and what layers may
have. What the reference does not compute either (windows, sinks, sparse patterns) is a test's to refuse, not this program's."""

import own_types  # noqa: F401  makes the type known

OTHER, NONE = {"replace_with_linear": True}, {"no_op": True}


def group(count):
    return {"n_heads_in_group": count, "no_op": False, "replace_with_linear": False, "window_length": None}


def entries(*parts):
    return [{"attention": attention, "ffn": ffn} for attention, ffn in parts]


BLOCKS = entries((group(2), {"ffn_mult": 5.25}), (NONE, {"intermediate_size": 40}), (group(1), NONE), (OTHER, {"ffn_mult": 9.5}))


def first(attention, ffn):
    return entries((attention, ffn)) + BLOCKS[1:]


VALUES = dict(block_configs=[
    BLOCKS[:3], BLOCKS + BLOCKS[:1], BLOCKS[::-1], [BLOCKS[0]] * 4, entries((NONE, NONE)) + BLOCKS[:3], [BLOCKS[1]] * 4, [],
    *(first(group(count), {"ffn_mult": 1.0}) for count in (4, 3, 8, 0, -1, None, "2")),
    *(first(group(2), {"ffn_mult": factor}) for factor in (0.01, 1, 8.0, 8.1, 15.999, 16, 24.001, 0, -1, None, "5")),
    *(first(group(2), ffn) for ffn in (
        {"intermediate_size": 33}, {"intermediate_size": 0}, {"ffn_mult": 5.25, "intermediate_size": 256}, OTHER, NONE, {}, None,
        *({"intermediate_size": 40, "hidden_act": name} for name in ("gelu", "relu", "silu", "nonsense", None)))),
    first(OTHER, OTHER), first(NONE, OTHER), first({}, NONE), first(None, NONE), [None] + BLOCKS[1:], {"0": BLOCKS[0]},
])


def bases(dense):
    return {"nemotron-nas": dense | dict(intermediate_size=None, num_key_value_heads=None, block_configs=BLOCKS)}


def pairs(crossed):
    return {"nemotron-nas": crossed({"hidden_size": [44, 47, 64, 96]}, {"head_dim": [8, 12, "<absent>"]}) + crossed(
        {"num_attention_heads": [2, 6, 8, 5]}, {"head_dim": [8, "<absent>"]}) + crossed(
        {"attention_bias": [True, False]}, {"mlp_bias": [True, False]})}
