"""What the programs beside this one have in common: cases by name, each a line, and the files of checkpoints."""

import argparse
import pathlib
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(description, names, check):
    """`check(name, binary, work)` gives the words of a case's line, or fails an assertion that says why. The last line counts."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    options = parser.parse_args()
    chosen, failed = options.cases or list(names), 0
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            try:
                print(f"ok   {name}: {check(name, options.binary, pathlib.Path(folder))}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAIL {name}: {error}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} as they should be")
    sys.exit(failed > 0)


def add_tokenizer(folder):
    """The bundled model's."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(ROOT / "Examples/model" / name, folder)


def tensors(folder):
    """All weights of a checkpoint, by name."""
    from safetensors.torch import load_file

    found = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found
