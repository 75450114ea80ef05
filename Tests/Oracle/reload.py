"""Does `transformers` load what we exported, and compute what we computed?

    python reload.py DIR [DIR …]

Beside each DIR lies DIR/../<name>.oracle.safetensors with `tokens` int64 [B, S] and `logits` float32 [B, S, V] from
our own forward pass. One line per DIR; exit 1 if any has a missing, unexpected or mismatched weight, a warning
about weights, a logit further than 1e-4 of the largest away, or a config or tokenizer that does not load with
`trust_remote_code` as well, as evaluation harnesses and servers pass it.
"""

import logging
import pathlib
import sys
import warnings

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

import own_types  # noqa: F401  makes types known

TOLERANCE = 1e-4
ABOUT_WEIGHTS = ("weight", "checkpoint", "initialized", "load report", " tie ")
REPORTED = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


class Collected(logging.Handler):
    """Whatever transformers had to say at warning level or above."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def check(folder):
    """Raises ValueError with what is wrong; gives the largest difference relative to the largest logit."""
    oracle = folder.parent / f"{folder.name}.oracle.safetensors"
    if not oracle.is_file():
        raise ValueError(f"no {oracle}")
    ours = load_file(oracle)
    tokens, logits = ours["tokens"], ours["logits"]
    if tokens.dtype != torch.int64 or tokens.dim() != 2 or logits.dtype != torch.float32:
        raise ValueError(f"{oracle.name}: tokens {tokens.dtype} {list(tokens.shape)}, logits {logits.dtype}")

    for trust in (False, True):
        AutoConfig.from_pretrained(folder, trust_remote_code=trust)
        if (folder / "tokenizer.json").is_file():
            AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)

    said = Collected()
    logger = logging.getLogger("transformers")
    logger.addHandler(said)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            model, info = AutoModelForCausalLM.from_pretrained(
                # The grouped kernels for experts want sizes that tiny models do not have.
                folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
                output_loading_info=True
            )
    finally:
        logger.removeHandler(said)
    wrong = [f"{key}: {sorted(map(str, value))}" for key, value in info.items() if value]
    absent = [key for key in REPORTED[:3] if key not in info]
    if absent:
        raise ValueError(f"this transformers does not report {absent}")
    for message in said.messages + [str(warning.message) for warning in warned]:
        if any(word in message.lower() for word in ABOUT_WEIGHTS):
            wrong.append(f"said: {message}")
        else:
            print(f"note  {folder.name}: {' '.join(message.split())[:300]}")
    if wrong:
        raise ValueError("; ".join(wrong))

    model.eval()
    with torch.no_grad():
        theirs = torch.cat([model(input_ids=row[None], use_cache=False).logits for row in tokens])
    if theirs.shape != logits.shape:
        raise ValueError(f"logits {list(logits.shape)}, transformers gives {list(theirs.shape)}")
    if not bool(torch.isfinite(logits).all() and torch.isfinite(theirs).all()):
        raise ValueError("logits are not finite")
    largest = float(theirs.abs().max())
    difference = float((theirs - logits).abs().max()) / largest
    if not difference <= TOLERANCE:
        where = (theirs - logits).abs().flatten(1).max(dim=1).values / largest
        raise ValueError(f"logits {difference:.2e} of the largest away (rows: {[f'{w:.1e}' for w in where.tolist()]})")
    return difference, sum(p.numel() for p in model.parameters())


def main(folders):
    if not folders:
        print(__doc__)
        return 64
    disable_progress_bar()
    torch.set_num_threads(1)
    failed = 0
    for name in folders:
        try:
            difference, parameters = check(pathlib.Path(name).resolve())
            print(f"ok    {name}: {parameters} parameters, logits within {difference:.1e} of the largest")
        except Exception as error:  # one export that does not load must not hide the others
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {' '.join(str(error).split())[:600]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
