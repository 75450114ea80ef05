"""What is lost by cutting channels and directions of a rotated basis, as they are and refitted, on the bundled model.

    python Benchmarks/recover.py [--binary .build/release/coppice] [--dtypes bfloat16 float32] [--out FILE.json]

For each architecture, kind of calibration text, order of it (seed) and type one line: loss per token and divergence from the
original on 64 held-out rows of 192 tokens of documents, accuracy on 30% of the questions, and the seconds of the run. With --sizes
the architectures of one size (44% of the parameters, within 2%), each method's best of them first.
"""

import argparse
import json
import pathlib
import tempfile

from bundled import METHODS, ROOT, Bench, line, params

WIDTHS = [{"hidden_size": 160}, {"hidden_size": 128}, {"num_layers": 6}, {"num_layers": 4}]
# Three quarters, 60% and 44% of the parameters.
SIZES = [
    {"hidden_size": 160, "ffn_hidden_size": 448},
    {"hidden_size": 144, "ffn_hidden_size": 384, "num_layers": 7},
    {"hidden_size": 128, "ffn_hidden_size": 384, "num_layers": 6},
]


def of_one_size():
    """Twenty architectures with as many parameters as the last of SIZES, within 2%."""
    target, found = params(SIZES[-1]), []
    for hidden in range(112, 193, 16):
        for layers in range(3, 9):
            configs = [
                {"hidden_size": hidden, "ffn_hidden_size": ffn, "num_layers": layers} for ffn in range(160, 513, 16)]
            best = min(configs, key=lambda config: abs(params(config) - target))
            if abs(params(best) - target) <= 0.02 * target:
                found.append(best)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--texts", nargs="+", default=["calib", "chat"])
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--out")
    options = parser.parse_args()
    lines = []

    def run(bench, *asked):
        lines.append(bench.cut(*asked))
        print(line(lines[-1]), flush=True)
        if options.out:
            pathlib.Path(options.out).write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as work:
        for dtype in options.dtypes:
            bench = Bench(options.binary, work, dtype, options.rows)
            if options.sizes:
                for method in ("channels", "rotated", "recover"):
                    for config in of_one_size():
                        run(bench, config, method)
                continue
            for config in SIZES + WIDTHS:
                for text in options.texts:
                    for seed in range(options.seeds if config in SIZES and text == "calib" else 1):
                        for method, flags in METHODS.items():
                            if "rotated" in flags and "hidden_size" not in config or method == "recover" and len(config) == 1 \
                                    and "hidden_size" not in config:
                                continue
                            run(bench, config, method, text, seed)
    for method in METHODS if options.sizes else []:
        own = sorted((found for found in lines if found["method"] == method), key=lambda found: found["kl"])
        for found in own[:3]:
            print(line(found))


if __name__ == "__main__":
    main()
