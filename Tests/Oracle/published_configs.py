"""Published models in shape: counted by `coppice inspect` as `transformers` counts them on its meta device.

    .deps/venv/bin/python Tests/Oracle/published_configs.py [--binary .build/release/coppice] [--only TYPE …]

Of image-text models the language model is counted, with its head.
"""

import argparse
import copy
import json
import pathlib
import subprocess
import tempfile

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

import own_types  # noqa: F401  makes types known
from published_models import MODELS

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Types that `transformers` reads by another's class.
READ_AS = {"kimi_k2": "deepseek_v3", "ministral": "ministral"}


def config_of(kind, fields):
    """The config as `transformers` fills it in."""
    fields = copy.deepcopy(fields)
    # Defaults of special tokens may lie beyond a smaller vocabulary.
    fields.setdefault("pad_token_id", None)
    text = fields.get("text_config")
    if text is not None:
        blank = AutoConfig.for_model(kind)
        text.setdefault("model_type", blank.text_config.model_type)
        # Where no encoder is there by default it has a type of its own.
        vision = blank.vision_config or AutoConfig.for_model(kind + "_vision")
        fields["vision_config"] = vision.to_dict()
    return AutoConfig.for_model(READ_AS.get(kind, kind), **fields)


def stored(module):
    """Elements of its tensors in a checkpoint, tied ones once: parameters, and buffers that are kept (biases of routers)."""
    parameters = sum(p.numel() for p in module.parameters())
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return parameters + sum(tensor.numel() for name, tensor in module.state_dict().items() if name not in names)


def counted(config):
    """Of the language model and its head."""
    with torch.device("meta"):
        if hasattr(config, "vision_config"):
            whole = AutoModelForImageTextToText.from_config(config)
            text = getattr(whole, "model", whole).language_model
            head = whole.lm_head if hasattr(whole, "lm_head") else text.lm_head
            text = getattr(text, "model", text)
            shared = config.tie_word_embeddings
            return stored(text) + (0 if shared else stored(head))
        whole = AutoModelForCausalLM.from_config(config)
    whole.tie_weights()
    return stored(whole)


def own_params(result):
    """Without what leads from an encoder of images into the hidden size."""
    found = json.loads(result.stdout)
    assert sum(part["params"] for part in found["parts"].values()) == found["params"], found["parts"]
    return found["params"] - found["parts"].get("projector", {}).get("params", 0)


def inspected(binary, config, kind, fields):
    with tempfile.TemporaryDirectory() as folder:
        written = config.to_dict() | {"model_type": kind}
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(written, default=str))
        result = subprocess.run([binary, "inspect", "--json", "--hf_model_name_or_path", folder], capture_output=True, text=True)
        if result.returncode:
            return result.stderr.strip()
        # And as it is published, without what the class fills in.
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(fields | {"model_type": kind}))
        short = subprocess.run([binary, "inspect", "--json", "--hf_model_name_or_path", folder], capture_output=True, text=True)
        whole = own_params(result)
        if short.returncode == 0 and own_params(short) != whole:
            return f"{whole:,} with all fields, {own_params(short):,} with those that are not defaults"
        return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    differences, types = 0, set()
    asked = [line for line in MODELS if not options.only or line[0] in options.only]
    for kind, name, fields in asked:
        config = config_of(kind, fields)
        expected, found = counted(config), inspected(options.binary, config, kind, fields)
        types.add(kind)
        if expected != found:
            differences += 1
            print(f"{kind} ({name}): transformers {expected:,}, coppice {found if isinstance(found, str) else format(found, ',')}")
    print(f"{len(asked)} configs of {len(types)} types: {differences} differences")
    raise SystemExit(1 if differences or not asked else 0)


if __name__ == "__main__":
    main()
