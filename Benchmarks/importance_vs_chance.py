"""How much better is importance than chance? Prunes the bundled model by importance, and with shuffled scores.

    python Benchmarks/importance_vs_chance.py [--binary .build/release/coppice] [--draws 5]

For each architecture one line: MMLU accuracy (450 questions), loss per token and divergence from the original on
held-out text, by importance and for each random draw.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL, DATA = ROOT / "Examples/model", ROOT / "Examples/data"
ARCHITECTURES = [
    {"num_layers": 6},
    {"ffn_hidden_size": 256},
    {"hidden_size": 128},
    {"num_attention_heads": 4},
    {"num_layers": 6, "hidden_size": 160, "ffn_hidden_size": 384},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        scores = pathlib.Path(work) / "scores"

        def measure(config):
            out = pathlib.Path(work) / "out"
            subprocess.run(["rm", "-rf", out], check=True)
            subprocess.run(
                [arguments.binary, "prune", "--quiet", "--hf_model_name_or_path", MODEL, "--output_hf_path", out,
                 "--prune_intermediate_ckpt", scores, "--prune_export_config", json.dumps(config),
                 "--calib_dataset_name", DATA / "calib.jsonl", "--calib_num_samples", "128", "--seq_length", "192"],
                check=True, stderr=subprocess.DEVNULL)
            found = json.loads(subprocess.run(
                [arguments.binary, "eval", "--quiet", "--json", "--hf_model_name_or_path", out, "--mmlu_dataset",
                 DATA / "mmlu", "--mmlu_percent", "25", "--eval_dataset_name", DATA / "heldout.jsonl",
                 "--eval_num_samples", "16", "--seq_length", "192", "--reference_model", MODEL],
                check=True, capture_output=True).stdout)
            return 100 * found["mmlu"]["accuracy"], found["loss"]["mean"], found["kl"]["mean"]

        measure(ARCHITECTURES[0])
        true = (scores / "importance.json").read_text()
        for config in ARCHITECTURES:
            (scores / "importance.json").write_text(true)
            lines = [measure(config)]
            for draw in range(arguments.draws):
                chance, generator = json.loads(true), random.Random(draw)
                for values in chance["scores"].values():
                    for row in values if isinstance(values[0], list) else [values]:
                        generator.shuffle(row)
                (scores / "importance.json").write_text(json.dumps(chance))
                lines.append(measure(config))
            print(json.dumps(config))
            for name, at, form in [("MMLU %", 0, "{:.1f}"), ("loss", 1, "{:.2f}"), ("KL", 2, "{:.2f}")]:
                values = [form.format(line[at]) for line in lines]
                print(f"  {name:7} importance {values[0]:>6}   chance {'  '.join(values[1:])}", flush=True)


if __name__ == "__main__":
    main()
